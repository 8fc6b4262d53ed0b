//! How the requests of a layer are treated once they are sent.

use http::Response;

use crate::{cache::TokenCache, unauthorized::Unauthorized};

/// What a request under way needs to know after it was sent.
#[derive(Debug)]
pub(crate) struct Rules<U, Rp> {
    pub(crate) cache: TokenCache,
    pub(crate) unauthorized: U,
    pub(crate) replay: Rp,
}

impl<U: Unauthorized, Rp> Rules<U, Rp> {
    pub(crate) fn refuses<R>(&self, response: &Response<R>) -> bool {
        let (status, headers) = (response.status(), response.headers());
        self.unauthorized.is_refusal(status, headers)
    }
}
