//! Which provider of cryptography the default transport uses. A process has one, so this test has a process of its own.

#![cfg(feature = "rustls-no-provider")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rustls::crypto::{CryptoProvider, ring};
use tower_bearer::{ClientAuth, ClientCredentials, ErrorKind};

/// One that can do nothing, so that it is told apart from the one of this crate's feature.
///
/// Promise: S9
#[test]
fn the_provider_that_the_program_installs_is_used_and_does_not_panic() {
    let useless = CryptoProvider {
        cipher_suites: Vec::new(),
        ..ring::default_provider()
    };
    useless.install_default().unwrap();
    let credentials = ClientCredentials::builder(
        "https://auth.example.com/token",
        "client",
        ClientAuth::basic("secret"),
    );
    let error = credentials.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().contains("TLS cannot be set up"),
        "{error}"
    );
}
