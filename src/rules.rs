//! How the requests of a layer are treated once they are sent.

use http::{Request, Response};

use crate::{
    cache::{Route, TokenCache},
    route,
    unauthorized::Unauthorized,
};

/// What a request under way needs to know after it was sent. Each request has its own copy: a handle to the cache of its
/// credential, and two values that are mostly nothing at all.
#[derive(Clone, Debug)]
pub(crate) struct Rules<U, Rp> {
    pub(crate) cache: TokenCache,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
}

impl<U: Unauthorized, Rp> Rules<U, Rp> {
    /// The request's route, while there are routes that refuse fresh tokens. Otherwise nobody will ask.
    pub(crate) fn route_worth_knowing<B>(&self, request: &Request<B>) -> Option<Route> {
        let watching = self.cache.is_watching();
        watching.then(|| route::of(request.method(), request.uri()))
    }

    pub(crate) fn refuses<R>(&self, response: &Response<R>) -> bool {
        let (status, headers) = (response.status(), response.headers());
        self.unauthorized.is_refusal(status, headers)
    }
}
