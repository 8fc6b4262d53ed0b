//! `huskarl`'s authorizer: gives headers, and takes those of the answer. The request, and the retry, are the caller's.

use std::{hint::black_box, sync::Arc, time::SystemTime};

use http::{Request, Response};
use huskarl::{
    authorizer::HttpAuthorizer,
    cache::{InMemoryTokenCache, TokenError, TokenSource},
    core::{Error, RetryAdvice, platform::MaybeSendBoxFuture},
    grant::core::{RawTokenResponse, TokenResponse},
};
use tower::{Service, ServiceExt};

use crate::support::{
    herd::{Api, Peer, TokenEndpoint},
    warm::{Body, Drivers, TOKEN, api, request},
};

pub(crate) fn add(drivers: &mut Drivers) {
    drivers.add("huskarl authorizer, by hand", "no", async || {
        let authorizer = authorizer(Fixed);
        let mut api = api();
        async move |mut request: Request<Body>| {
            let uri = request.uri().clone();
            let headers = authorizer.get_headers(request.method(), &uri).await;
            request.headers_mut().extend(headers.unwrap());
            let answer = api.ready().await.unwrap().call(request).await.unwrap();
            authorizer.process_response(&uri, answer.headers());
            black_box(answer);
        }
    });
}

pub(crate) fn peer() -> Peer {
    Peer::new(
        "huskarl authorizer, retry by hand",
        true,
        |token_request, api| {
            let authorizer = Arc::new(authorizer(Asked(token_request)));
            Box::new(move || {
                let (authorizer, api) = (Arc::clone(&authorizer), Arc::clone(&api));
                Box::pin(async move {
                    let Some(answer) = send(&authorizer, &api).await else {
                        return false;
                    };
                    if answer.status() != 401 {
                        return answer.status() == 200;
                    }
                    let again = send(&authorizer, &api).await;
                    again.is_some_and(|answer| answer.status() == 200)
                })
            })
        },
    )
}

/// One try, as its documentation has it.
async fn send(authorizer: &HttpAuthorizer, api: &Api) -> Option<Response<Body>> {
    let mut request = request();
    let uri = request.uri().clone();
    let headers = authorizer.get_headers(request.method(), &uri).await.ok()?;
    request.headers_mut().extend(headers);
    let answer = api.answer(request).await;
    authorizer.process_response(&uri, answer.headers());
    Some(answer)
}

fn authorizer(source: impl TokenSource + 'static) -> HttpAuthorizer {
    let cache = InMemoryTokenCache::builder().source(source).build();
    HttpAuthorizer::builder().cache(cache).build()
}

struct Fixed;

impl TokenSource for Fixed {
    fn token(&self) -> MaybeSendBoxFuture<'_, Result<Arc<TokenResponse>, TokenError>> {
        Box::pin(async { Ok(good(TOKEN)) })
    }
}

struct Asked(Arc<TokenEndpoint>);

impl TokenSource for Asked {
    fn token(&self) -> MaybeSendBoxFuture<'_, Result<Arc<TokenResponse>, TokenError>> {
        Box::pin(async {
            match self.0.token().await {
                Ok(token) => Ok(good(&token)),
                Err(why) => Err(Error::new(RetryAdvice::No, why).into()),
            }
        })
    }
}

fn good(token: &str) -> Arc<TokenResponse> {
    let raw = RawTokenResponse::builder()
        .access_token(token)
        .token_type("bearer")
        .expires_in(36_000)
        .build();
    Arc::new(raw.into_token_response(None, SystemTime::now()).unwrap())
}
