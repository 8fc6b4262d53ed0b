//! The proxy between a client and the embedded servers, which count what reaches them.

use std::process::ExitCode;

use axum::ServiceExt;
use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, task::JoinSet};
use tower::BoxError;
use tower_bearer::{ClientCredentials, TokenCache};

use crate::{
    PATIENCE,
    embedded::{Gateway, Hydra, Registration, TENANT},
    proxy::proxy,
};

/// Prints what it does and counts. Fails if a count is wrong.
pub(crate) async fn run() -> Result<ExitCode, BoxError> {
    let hydra = Hydra::start(Registration::default()).await?;
    let gateway = Gateway::start(&hydra).await?;
    let origin = start(&hydra, &hydra.registration().client_secret, &gateway).await?;
    println!("proxy at {origin}, API at {}", gateway.origin());
    let mut shown = Demonstration {
        hydra,
        gateway,
        as_told: true,
    };

    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        crowd.spawn(send(get(&origin, number)?));
    }
    let mut answers = Vec::new();
    while let Some(answer) = crowd.join_next().await {
        answers.push(answer??.0);
    }
    shown.told(
        "50 calls at once, and no token yet",
        &answers,
        &[StatusCode::OK; CROWD],
        [1, 50],
    );

    let mut request = get(&origin, 50)?;
    let own = "Bearer the-callers-own".parse()?;
    request.headers_mut().insert(AUTHORIZATION, own);
    let (status, _) = send(request).await?;
    shown.told(
        "a call with an Authorization of its own, which the proxy replaces",
        &[status],
        &[StatusCode::OK],
        [1, 51],
    );

    shown.hydra.revoke_all();
    let (status, _) = send(upload(&origin)?).await?;
    shown.told(
        "the token revoked, and a body that streams",
        &[status],
        &[StatusCode::OK],
        [2, 53],
    );

    let origin = start(&shown.hydra, "yesterday's secret", &shown.gateway).await?;
    let (status, why) = send(get(&origin, 0)?).await?;
    println!("{status}: {}", why.trim_end());
    shown.told(
        "a proxy that has a wrong secret",
        &[status],
        &[StatusCode::BAD_GATEWAY],
        [3, 53],
    );
    Ok(match shown.as_told {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A proxy on a free port, until the runtime ends; its origin.
async fn start(hydra: &Hydra, secret: &str, gateway: &Gateway) -> Result<String, BoxError> {
    let known = hydra.registration();
    let source = ClientCredentials::builder(hydra.token_url(), &known.client_id, secret)
        .scopes(&known.scopes)
        .build()?;
    let proxy = proxy(gateway.origin().parse()?, TokenCache::new(source), PATIENCE);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, proxy.into_make_service()).await });
    Ok(origin)
}

struct Demonstration {
    hydra: Hydra,
    gateway: Gateway,
    as_told: bool,
}

impl Demonstration {
    /// Prints how often the token endpoint and the API were called so far, and compares it with the expectation.
    fn told(
        &mut self,
        what: &str,
        answers: &[StatusCode],
        told_answers: &[StatusCode],
        told: [u64; 2],
    ) {
        let seen = [self.hydra.token_requests(), self.gateway.answered()];
        println!(
            "{what}: {} token requests, {} calls so far",
            seen[0], seen[1]
        );
        if seen != told || answers != told_answers {
            println!("    WRONG: should be {told:?}, {told_answers:?}, is {seen:?}, {answers:?}");
            self.as_told = false;
        }
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>;

fn get(origin: &str, number: usize) -> http::Result<Request<Body>> {
    Request::get(format!("{origin}/ecommerce/public/{TENANT}/cart/{number}"))
        .body(Full::default().boxed_unsync())
}

/// A body in two pieces, without a known length.
fn upload(origin: &str) -> http::Result<Request<Body>> {
    let pieces = ["{\"amount\":", " 63}"].map(|piece| Ok(http_body::Frame::data(piece.into())));
    Request::post(format!(
        "{origin}/ecommerce/public/{TENANT}/orders/7/credits/apply"
    ))
    .header(CONTENT_TYPE, "application/json")
    .body(StreamBody::new(tokio_stream::iter(pieces)).boxed_unsync())
}

async fn send(request: Request<Body>) -> Result<(StatusCode, String), BoxError> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

const CROWD: usize = 50;
