use tonic::{
    body::Body,
    transport::{Channel, ClientTlsConfig},
};
use tower_service::Service;

#[cfg(feature = "tower-bearer")]
#[path = "../../bearer.rs"]
mod bearer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = std::env::var("SERVER").unwrap();
    let mut channel = Channel::from_shared(server.clone())
        .unwrap()
        .tls_config(ClientTlsConfig::new().with_native_roots())
        .unwrap()
        .connect()
        .await
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let request = http::Request::post(format!("{server}a.Service/Call"))
        .body(Body::empty())
        .unwrap();
    let answer = channel.call(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
    #[cfg(feature = "tower-bearer")]
    bearer::token_request(&server).await;
}
