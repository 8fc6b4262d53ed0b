//! What a layer was told, and what each of its requests is treated by.

use http::Request;

use crate::{
    cache::Caches,
    error::Error,
    middleware::{
        admission::{Admission, Verdict},
        attempt::Rules,
    },
    select::Select,
};

/// What a layer and its services know.
#[derive(Clone, Debug)]
pub(crate) struct Plan<Sel, U, Rp, C> {
    pub(crate) cache: C,
    pub(crate) select: Sel,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
    pub(crate) admission: Admission,
}

impl<Sel, U, Rp, C> Plan<Sel, U, Rp, C> {
    /// What is done with this request.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Verdict<Sel::Key>
    where
        Sel: Select,
    {
        self.admission.admit(&self.select, request)
    }

    /// For a request with this credential.
    ///
    /// # Errors
    /// There is no such credential.
    pub(crate) fn rules(&self, key: C::Key) -> Result<Rules<U, Rp>, Error>
    where
        U: Clone,
        Rp: Clone,
        C: Caches,
    {
        Ok(Rules {
            cache: self.cache.cache_of(key)?,
            unauthorized: self.unauthorized.clone(),
            replay: self.replay.clone(),
            carrier: self.admission.carrier.clone(),
        })
    }
}
