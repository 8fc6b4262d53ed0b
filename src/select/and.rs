//! Two selections, one after the other.

use super::{RequestHead, Select};

/// Of what the first one selects, what the second one selects, by its key. Where the key is made of both, a closure does it.
///
/// # Example
/// The token of the tenant whose request it is, and to one server only:
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
    /// Both of them, the first one first.
    pub fn new(first: A, second: T) -> Self {
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
