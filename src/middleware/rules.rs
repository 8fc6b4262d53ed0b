//! How the requests of a layer are treated: what a layer and its services know, and what goes with each request.

use http::{Request, Response};

use crate::{
    cache::{Caches, Route, TokenCache},
    middleware::{
        admission::{Admission, Verdict},
        route,
    },
    select::Select,
    unauthorized::{ResponseHead, Unauthorized},
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

/// What a request under way needs to know after it was sent. Each request has its own copy: a handle to the cache of its
/// credential, and two values that are mostly nothing at all.
#[derive(Clone, Debug)]
pub(crate) struct Rules<U, Rp> {
    pub(crate) cache: TokenCache,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
}

impl<Sel, U, Rp, C> Plan<Sel, U, Rp, C> {
    /// What is done with this request.
    pub(crate) fn judge<B>(&self, request: &Request<B>) -> Verdict<Sel::Key>
    where
        Sel: Select,
    {
        self.admission.judge(&self.select, request)
    }

    /// For a request with this credential.
    pub(crate) fn rules(&self, key: C::Key) -> Rules<U, Rp>
    where
        U: Clone,
        Rp: Clone,
        C: Caches,
    {
        Rules {
            cache: self.cache.cache_of(key),
            unauthorized: self.unauthorized.clone(),
            replay: self.replay.clone(),
        }
    }
}

impl<U: Unauthorized, Rp> Rules<U, Rp> {
    /// The request's route, while there are routes that reject fresh tokens. Otherwise nobody will ask.
    pub(crate) fn route_worth_knowing<B>(&self, request: &Request<B>) -> Option<Route> {
        let watching = self.cache.is_watching();
        watching.then(|| route::of(request.method(), request.uri()))
    }

    pub(crate) fn rejects<R>(&self, response: &Response<R>) -> bool {
        self.unauthorized
            .is_rejection(&ResponseHead::from(response))
    }
}
