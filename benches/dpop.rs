//! What a DPoP proof costs: a request with a bound token through `DpopLayer`, over the service alone, for each kind of key. Nearly all
//! of it is the signature.
//!
//! ```sh
//! cargo bench --bench dpop
//! ```

use std::{convert::Infallible, hint::black_box};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_bearer::{
    Token,
    client_credentials::SigningAlgorithm,
    dpop::{DpopKey, DpopLayer},
};

type Body = Full<Bytes>;

const RSA: &str = include_str!("../tests/keys/rsa.pem");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let requests = if is_test { 10 } else { 20_000 };
    let api = service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(Response::new(black_box(request).into_body()))
    });
    println!("| key | a request, ns | requests a second |");
    println!("| --- | ---: | ---: |");
    row("none: the service alone", requests, api).await?;
    for (name, key) in [
        ("ES256", DpopKey::generate()?),
        ("ES384", DpopKey::generate_for(SigningAlgorithm::Es384)?),
        ("EdDSA", DpopKey::generate_for(SigningAlgorithm::EdDsa)?),
        ("RS256", DpopKey::from_pem(SigningAlgorithm::Rs256, RSA)?),
        ("PS256", DpopKey::from_pem(SigningAlgorithm::Ps256, RSA)?),
    ] {
        row(name, requests, DpopLayer::new(key).layer(api)).await?;
    }
    Ok(())
}

async fn row<S>(name: &str, requests: u32, mut service: S) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>>,
{
    // Of the size of a JWT.
    let token = Token::dpop("t".repeat(800))?;
    let started = Instant::now();
    for _ in 0..requests {
        let request = Request::post("https://api.example.com/invoices?page=7")
            .header(AUTHORIZATION, token.authorization().clone())
            .body(Body::from("63 EUR"))?;
        let service = service.ready().await.map_err(Into::into)?;
        black_box(service.call(request).await.map_err(Into::into)?);
    }
    let each = started.elapsed() / requests;
    let a_second = 1.0 / each.as_secs_f64().max(1e-9);
    println!("| {name} | {} | {a_second:.0} |", each.as_nanos());
    Ok(())
}
