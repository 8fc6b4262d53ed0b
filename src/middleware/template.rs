//! The service that retries are sent by.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A service that is cloned for each retry. The requests in flight share it: a clone of the client for each request would be
/// most of what this layer costs over a socket, and hardly any request is retried.
///
/// It is never made ready, so it holds no permit, no place in a buffer and no connection.
pub(crate) struct Template<S>(Arc<Mutex<S>>);

impl<S: Clone> Template<S> {
    pub(crate) fn of(service: &S) -> Self {
        Self(Arc::new(Mutex::new(service.clone())))
    }

    /// A service for one retry, which is not ready yet.
    pub(crate) fn instance(&self) -> S {
        // The lock asks of a service that it is `Send`, and not that it is `Sync`. Its `clone` is the one piece of user code
        // that runs under a lock: nothing else takes this lock, so it can only hold up another retry's clone.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl<S> Clone for Template<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Template<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").finish_non_exhaustive()
    }
}
