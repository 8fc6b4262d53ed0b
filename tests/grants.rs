//! What a token request asks for, as token endpoints of several kinds see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/endpoint.rs"]
mod endpoint;

use std::collections::BTreeMap;

use bytes::Bytes;
use endpoint::{Endpoint, answer, token_request};
use http::{Response, header::AUTHORIZATION};
use serde_json::{Value, json};
use tower_bearer::{ClientAuth, ClientCredentials, ErrorKind};

const TOKEN_URL: &str = "https://auth.example.com/oauth2/token";

fn granted() -> Response<Bytes> {
    granted_with(&json!({}))
}

/// A token answer with these members too.
fn granted_with(members: &Value) -> Response<Bytes> {
    let mut body = json!({"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "bearer", "expires_in": 3600});
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    answer(200, &[], body.to_string())
}

/// The form of each request.
fn forms(endpoint: &Endpoint) -> Vec<BTreeMap<String, String>> {
    let requests = endpoint.requests();
    let form = |request: &http::Request<Bytes>| {
        let pairs: Vec<_> = url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
        let form: BTreeMap<_, _> = pairs.iter().cloned().collect();
        assert_eq!(form.len(), pairs.len(), "each name once: {pairs:?}");
        form
    };
    requests.iter().map(form).collect()
}

fn form(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

mod by_another_name {
    use super::*;

    /// As Zoom's servers have it.
    ///
    /// Promise: E8
    #[tokio::test(start_paused = true)]
    async fn a_grant_of_another_name_is_the_client_credentials_grant_in_all_else() {
        for (auth, own) in [
            (ClientAuth::basic("s"), &[][..]),
            (
                ClientAuth::post("s"),
                &[("client_id", "id"), ("client_secret", "s")],
            ),
        ] {
            let endpoint = Endpoint::new([granted()]);
            let credentials = ClientCredentials::builder(TOKEN_URL, "id", auth)
                .grant_type("account_credentials")
                .param("account_id", "a/7")
                .scopes(["meeting:read", "user:read"]);
            let source = credentials.build_with(endpoint.clone()).unwrap();
            token_request(source).await.unwrap();
            let mut expected = form(&[
                ("grant_type", "account_credentials"),
                ("account_id", "a/7"),
                ("scope", "meeting:read user:read"),
            ]);
            expected.extend(form(own));
            assert_eq!(forms(&endpoint), [expected]);
            let is_basic = endpoint.requests()[0].headers().contains_key(AUTHORIZATION);
            assert_eq!(is_basic, own.is_empty());
        }
    }

    #[test]
    fn a_grant_type_is_not_blank_and_is_given_once() {
        let client = || ClientCredentials::builder(TOKEN_URL, "id", "s");
        for builder in [
            client().grant_type(" "),
            client().param("grant_type", "password"),
        ] {
            let error = builder.build_with(Endpoint::new([])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains("grant type"), "{error}");
        }
    }
}
