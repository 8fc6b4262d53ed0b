//! Which requests are alike, as far as being rejected goes.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{Method, Uri};

use crate::cache::Route;

/// The route of a request: its method, authority and path, where a segment with a digit in it stands for any other. So
/// `/orders/17/checkout` and `/orders/18/checkout` are one route, and so are the carts of all tenants.
pub(crate) fn of(method: &Method, uri: &Uri) -> Route {
    let mut hasher = DefaultHasher::new();
    method.hash(&mut hasher);
    uri.authority().hash(&mut hasher);
    for segment in uri.path().split('/') {
        let is_name = !segment.bytes().any(|byte| byte.is_ascii_digit());
        is_name.then_some(segment).hash(&mut hasher);
    }
    Route::new(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str) -> Route {
        of(&method.parse().unwrap(), &uri.parse().unwrap())
    }

    #[test]
    fn a_route_is_the_same_for_other_ids_and_queries_and_another_for_other_names() {
        let carts = route("GET", "https://api.test/public/6f1c2b/cart?page=1");
        assert_eq!(carts, route("GET", "https://api.test/public/9e07aa/cart"));
        assert_ne!(carts, route("POST", "https://api.test/public/6f1c2b/cart"));
        assert_ne!(carts, route("GET", "https://other.test/public/6f1c2b/cart"));
        assert_ne!(carts, route("GET", "https://api.test/public/6f1c2b/orders"));
        assert_ne!(carts, route("GET", "https://api.test/public/6f1c2b/cart/1"));
    }
}
