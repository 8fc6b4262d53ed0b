//! By a part of the path.

use http::Request;

use super::Select;

/// The credential is named by a segment of the path, as it stands there, percent-encoding and all. A request whose path has
/// no such segment, or an empty one, passes untouched.
///
/// # Deployment caveat
/// The path must not be a stranger's choice, for whoever names a tenant gets its token. Behind a proxy that passes paths on,
/// check first that the caller may act for the tenant.
///
/// # Example
/// IPXO's tenant, in `/ecommerce/public/{tenant_uuid}/cart`:
/// ```
/// use tower_bearer::select::{PathSegment, Select};
///
/// let request = http::Request::get("https://apigw.ipxo.com/ecommerce/public/3f0c8c8e/cart").body(())?;
/// assert_eq!(PathSegment::nth(2).select(&request).as_deref(), Some("3f0c8c8e"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PathSegment {
    index: usize,
}

impl PathSegment {
    /// The segment with this index, where 0 is the first.
    #[must_use]
    pub const fn nth(index: usize) -> Self {
        Self { index }
    }
}

impl<B> Select<B> for PathSegment {
    type Key = String;

    fn select(&self, request: &Request<B>) -> Option<String> {
        let path = request.uri().path().strip_prefix('/')?;
        let segment = path.split('/').nth(self.index)?;
        (!segment.is_empty()).then(|| segment.to_owned())
    }
}
