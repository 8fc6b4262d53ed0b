#[cfg(feature = "tower-bearer")]
#[path = "../../bearer.rs"]
mod bearer;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = std::env::var("SERVER").unwrap();
    let answer = reqwest::get(&server).await.unwrap();
    assert_eq!(answer.status(), 200);
    #[cfg(feature = "tower-bearer")]
    bearer::token_request(&server).await;
}
