//! Google's service accounts.

use serde::Deserialize;

use super::JwtBearer;
use crate::{
    client_credentials::{
        ClientCredentials, ClientCredentialsBuilder,
        auth::{
            jwt::{SigningAlgorithm, SigningKey},
            secret::Secret,
        },
    },
    error::Error,
    util::wiped::Wiped,
};

/// Returns a builder for a Google service account, from its key file: JSON, as Google Cloud makes it.
///
/// Add [`scopes`](ClientCredentialsBuilder::scopes), usually `https://www.googleapis.com/auth/cloud-platform`. The assertion is a
/// [`JwtBearer`] with the account as issuer, and no client. For domain-wide delegation build it yourself, with
/// [`with_subject`](JwtBearer::with_subject).
///
/// The file is read once, by this call, which blocks on the file system. Google advises against such keys where a workload has an
/// identity of its platform: see [`TokenExchange`](super::TokenExchange).
///
/// # Errors
/// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration): the file cannot be read, or is not the key file of a service
/// account. A [`Secret::from_provider`] and a [`Secret::from_cache`] cannot be read by this call.
///
/// # Example
/// ```
/// use tower_bearer::{Secret, client_credentials::google_service_account};
///
/// # let example = || -> Result<(), tower_bearer::Error> {
/// let credentials = google_service_account(Secret::from_file("/run/secrets/google.json"))?
///     .scopes(["https://www.googleapis.com/auth/cloud-platform"]);
/// # let _ = credentials;
/// # Ok(())
/// # };
/// # assert!(example().unwrap_err().to_string().contains("/run/secrets/google.json"));
/// ```
pub fn google_service_account(file: impl Into<Secret>) -> Result<ClientCredentialsBuilder, Error> {
    let json = file.into().peek("service account's key file")?;
    let json = json.ok_or_else(|| {
        Error::configuration(
            "the key file of a service account is read when it is given, so it must be text, a file or an environment variable",
        )
    })?;
    // serde's error quotes what it read.
    let file: KeyFile = serde_json::from_str(&json).map_err(|_| {
        Error::configuration(
            "this is not the key file of a Google service account: JSON with `client_email`, `private_key`, `private_key_id` and \
             `token_uri`; create a JSON key for the account",
        )
    })?;
    let key = SigningKey::from_pem(SigningAlgorithm::Rs256, Secret::of(file.private_key))
        .with_key_id(file.private_key_id);
    let account = JwtBearer::signed_by(key, file.client_email)
        .without_subject()
        .with_scopes_as_claim();
    Ok(ClientCredentials::without_client(file.token_uri).grant(account))
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: Wiped,
    private_key_id: String,
    token_uri: String,
}
