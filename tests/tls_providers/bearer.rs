//! A token request of `tower-bearer` over its own transport, in the program that has the crate.

use tower_bearer::{ClientAuth, ClientCredentials, TokenCache};

pub async fn token_request(server: &str) {
    let credentials = ClientCredentials::builder(server, "client", ClientAuth::basic("secret"));
    TokenCache::new(credentials.build().unwrap())
        .get()
        .await
        .unwrap();
}
