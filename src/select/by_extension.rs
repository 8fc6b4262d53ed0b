//! By what a caller says of a request.

use std::{fmt, marker::PhantomData};

use super::{RequestHead, Select};

/// The credential is named by an [extension](http::Request::extensions) of the request. A request without it passes
/// untouched.
///
/// # Example
/// ```
/// use tower_bearer::select::{ByExtension, RequestHead, Select};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct Tenant(u64);
///
/// let request = http::Request::builder().extension(Tenant(17)).body(())?;
/// assert_eq!(ByExtension::<Tenant>::new().select(&RequestHead::from(&request)), Some(Tenant(17)));
/// # Ok::<(), http::Error>(())
/// ```
pub struct ByExtension<T>(PhantomData<fn() -> T>);

impl<T> ByExtension<T> {
    /// By the extension of this type.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Clone + Send + Sync + 'static> Select for ByExtension<T> {
    type Key = T;

    fn select(&self, request: &RequestHead<'_>) -> Option<T> {
        request.extensions().get().cloned()
    }
}

impl<T> Default for ByExtension<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for ByExtension<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ByExtension<T> {}

impl<T> fmt::Debug for ByExtension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByExtension")
    }
}
