use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

#[cfg(feature = "tower-bearer")]
#[path = "../../bearer.rs"]
mod bearer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = std::env::var("SERVER").unwrap();
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .unwrap()
        .https_only()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(https);
    let answer = client.get(server.parse().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    #[cfg(feature = "tower-bearer")]
    bearer::token_request(&server).await;
}
