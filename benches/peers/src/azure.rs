//! `azure_core`'s policy for bearer tokens. Its requests are its own, so it is compared with its own pipeline's end.

use std::{hint::black_box, sync::Arc};

use azure_core::{
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{
        AsyncRawResponse, Body, Context, Method, Request, StatusCode, Url,
        headers::Headers,
        policies::{Policy, PolicyResult, auth::BearerTokenAuthorizationPolicy},
    },
    time::{Duration, OffsetDateTime},
};
use bytes::Bytes;

use crate::support::{
    herd::{Peer, TokenEndpoint},
    table::NONE,
    warm::{self, Drivers, TOKEN},
};

pub(crate) fn add(drivers: &mut Drivers) {
    let url: Url = warm::request().uri().to_string().parse().unwrap();
    let alone = url.clone();
    drivers.add_over(BARE, NONE, BARE, async || {
        async move || {
            let answer = End.send(&Context::new(), &mut request(&alone), &[]).await;
            black_box(answer.unwrap());
        }
    });
    drivers.add_over("azure_core policy", "no", BARE, async || {
        let policy = BearerTokenAuthorizationPolicy::new(Arc::new(Fixed), ["scope"]);
        let end: Vec<Arc<dyn Policy>> = vec![Arc::new(End)];
        async move || {
            let answer = policy.send(&Context::new(), &mut request(&url), &end).await;
            black_box(answer.unwrap());
        }
    });
}

const BARE: &str = "azure_core's pipeline alone";

/// The warm request, as one of theirs.
fn request(url: &Url) -> Request {
    let mut request = Request::new(url.clone(), Method::Post);
    for (name, value) in HEADERS {
        request.insert_header(name, value);
    }
    request.set_body(Body::from(Bytes::from_static(&[b'x'; 256])));
    request
}

const HEADERS: [(&str, &str); 6] = [
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "svc/1.2.3"),
    ("x-request-id", "7f1d0a52-3b5e-4a4e-9f6d-0123456789ab"),
    (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    ("idempotency-key", "abc-123-def"),
];

pub(crate) fn peer() -> Peer {
    Peer::new("azure_core policy", false, |token_request, _| {
        let credential = Arc::new(Asked(token_request));
        let policy = Arc::new(BearerTokenAuthorizationPolicy::new(credential, ["scope"]));
        let end: Arc<[Arc<dyn Policy>]> = Arc::new([Arc::new(End) as Arc<dyn Policy>]);
        Box::new(move || {
            let (policy, end) = (Arc::clone(&policy), Arc::clone(&end));
            Box::pin(async move {
                let mut request = request(&"https://a.example".parse().unwrap());
                policy
                    .send(&Context::new(), &mut request, &end)
                    .await
                    .is_ok()
            })
        })
    })
}

#[derive(Debug)]
struct Fixed;

#[async_trait::async_trait]
impl TokenCredential for Fixed {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(good(TOKEN.to_owned()))
    }
}

#[derive(Debug)]
struct Asked(Arc<TokenEndpoint>);

#[async_trait::async_trait]
impl TokenCredential for Asked {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = self.0.token().await;
        token
            .map(good)
            .map_err(|why| azure_core::Error::with_message(ErrorKind::Credential, why))
    }
}

fn good(token: String) -> AccessToken {
    AccessToken::new(
        Secret::new(token),
        OffsetDateTime::now_utc() + Duration::hours(10),
    )
}

/// Answers at once.
#[derive(Debug)]
struct End;

#[async_trait::async_trait]
impl Policy for End {
    async fn send(
        &self,
        _: &Context,
        request: &mut Request,
        _: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        black_box(&request);
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::Ok,
            Headers::new(),
            Bytes::new(),
        ))
    }
}
