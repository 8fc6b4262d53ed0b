//! `middle`: gives the header, and knows no service. It asks for its first token while it is made, so that no crowd can find
//! it without one.

use std::{convert::Infallible, hint::black_box, sync::Arc};

use http::{Request, header::AUTHORIZATION};
use middle::{Authorizer, BasicClientCredentialAuthorizer};
use tower::{Service, ServiceExt};

use crate::{
    endpoint,
    support::warm::{Body, Drivers, api},
};

pub(crate) fn add(drivers: &mut Drivers) {
    drivers.add("middle, header by hand", "no", async || {
        let builder =
            BasicClientCredentialAuthorizer::basic_builder("id", "secret", endpoint::start());
        let authorizer = builder.build().await.unwrap();
        let mut api = api();
        async move |mut request: Request<Body>| {
            let header = authorizer.authorization_header().unwrap();
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, Arc::unwrap_or_clone(header));
            let answer: Result<_, Infallible> = api.ready().await.unwrap().call(request).await;
            black_box(answer.unwrap());
        }
    });
}
