//! Selection by an extension of the request.

use std::{fmt, marker::PhantomData};

use super::{RequestHead, Select};

/// Selects by an [extension](http::Request::extensions) of the request: the extension is the key.
///
/// A request without it is not selected.
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
    /// Selects by the extension of type `T`.
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
