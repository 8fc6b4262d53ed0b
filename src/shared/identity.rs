//! The identity under which a token is stored.

use std::fmt;

use ring::digest::{Context, SHA256};

use crate::{client_credentials::ClientCredentials, error::Error};

/// Whose tokens are shared: processes share a token if their identities are equal.
///
/// The identity of [`ClientCredentials`] covers everything that decides which token the server gives: the endpoint, the client id,
/// how and by which secret the client authenticates, scopes, audiences, resources and other parameters. So a client with another
/// secret shares nothing, and a rotated secret begins anew.
///
/// An assertion of a third party that is a JWT counts by its issuer and its subject, not by its bytes: each pod of a Kubernetes
/// deployment has its own, and they are the same service account. The certificate of your own transport does not count; add it with
/// [`and`](Self::and).
///
/// A source of your own has no identity that this crate can know. Name it: [`named`](Self::named).
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, shared::Identity};
///
/// # fn example(credentials: &ClientCredentials) {
/// let of_the_credentials = Identity::from(credentials);
/// let with_a_certificate = Identity::from(credentials).and("certificate of 2026-11");
/// # let _ = (of_the_credentials, with_a_certificate);
/// # }
/// let of_my_source = Identity::named("vault.example.com").and("role billing");
/// # let _ = of_my_source;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Identity {
    credentials: Option<ClientCredentials>,
    names: Vec<String>,
}

impl Identity {
    /// The identity of a source by a name of your own. Include all that decides which token it gives.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            credentials: None,
            names: vec![name.into()],
        }
    }

    /// Adds a part: identities that differ in it share nothing.
    pub fn and(mut self, part: impl Into<String>) -> Self {
        self.names.push(part.into());
        self
    }

    /// Reads the secret and hashes it with the rest.
    pub(super) async fn digest(&self) -> Result<Digest, Error> {
        let mut hash = Context::new(&SHA256);
        // With lengths, so that no two lists of parts are the same bytes.
        let mut add = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), value] {
                hash.update(&(part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        };
        if let Some(credentials) = &self.credentials {
            credentials.identify(&mut add).await?;
        }
        for name in &self.names {
            add("name", name.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Digest(digest))
    }
}

impl From<&ClientCredentials> for Identity {
    fn from(credentials: &ClientCredentials) -> Self {
        Self {
            credentials: Some(credentials.clone()),
            names: Vec::new(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("credentials", &self.credentials)
            .field("names", &self.names)
            .finish()
    }
}

/// The hash of an identity. It is never stored or shown: a secret that is easy to guess could be guessed from it.
#[derive(Clone, PartialEq)]
pub(super) struct Digest(pub(super) [u8; 32]);
