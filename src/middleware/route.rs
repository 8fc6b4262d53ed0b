//! Which requests are alike, as far as being rejected goes.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::{Method, Uri, uri::Authority};

use crate::cache::Route;

/// The route of a request: its method, authority and path, where a segment with a digit in it stands for any other. So
/// `/orders/17/checkout` and `/orders/18/checkout` are one route, and so are the carts of all tenants.
pub(crate) fn of(method: &Method, uri: &Uri) -> Route {
    let mut hasher = DefaultHasher::new();
    method.as_str().hash(&mut hasher);
    let authority = uri.authority().map_or("", Authority::as_str);
    hasher.write(authority.as_bytes());
    // While a route fails, each request comes here. So the path is hashed as it is, in as few pieces as it can be, with a `0` in
    // place of each segment with a digit.
    let mut rest = uri.path().as_bytes();
    while let Some(digit) = rest.iter().position(u8::is_ascii_digit) {
        let (before, after) = rest.split_at(digit);
        let is_slash = |byte: &u8| *byte == b'/';
        let start = before
            .iter()
            .rposition(is_slash)
            .map_or(0, |slash| slash + 1);
        hasher.write(&before[..start]);
        hasher.write_u8(b'0');
        let end = after.iter().position(is_slash).unwrap_or(after.len());
        rest = &after[end..];
    }
    hasher.write(rest);
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
        assert_ne!(carts, route("GET", "https://api.test/public//cart"));
        let orders = route("GET", "/v1/orders/17");
        for same in ["/v2/orders/18", "/1/orders/a9b", "/a1/orders/9?q=/x"] {
            assert_eq!(orders, route("GET", same), "{same}");
        }
        for other in [
            "/v1/orders",
            "/v1/orders/",
            "/v1/orders/17/",
            "/v/orders/17",
            "*",
        ] {
            assert_ne!(orders, route("GET", other), "{other}");
        }
    }
}
