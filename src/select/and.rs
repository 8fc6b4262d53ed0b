//! Two selections, one after the other.

use super::{RequestHead, Select};

/// Selects what both select, by the key of the second. Made by [`Origins::and`](super::Origins::and).
///
/// It is a type, and not a closure, so that the type of a layer or a service can be written out. A selection whose key is
/// made of both is a closure.
///
/// # Example
/// Each tenant's requests get its own token, and only on their way to one server:
/// ```
/// use tower_bearer::select::{ByExtension, Origins};
///
/// #[derive(Clone)]
/// struct Tenant(u64);
///
/// let select = Origins::new(["https://api.example.com"])?.and(ByExtension::<Tenant>::new());
/// # let _ = select;
/// # Ok::<(), tower_bearer::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct And<A, T> {
    first: A,
    second: T,
}

impl<A, T> And<A, T> {
    pub(super) fn new(first: A, second: T) -> Self {
        Self { first, second }
    }
}

impl<A, T> Select for And<A, T>
where
    A: Select<Key = ()>,
    T: Select,
{
    type Key = T::Key;

    fn select(&self, request: &RequestHead<'_>) -> Option<T::Key> {
        self.first.select(request)?;
        self.second.select(request)
    }
}
