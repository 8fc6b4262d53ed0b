//! The client authentication as it was read for one token request.

#[cfg(feature = "jwt")]
use crate::client_credentials::auth::{
    CLIENT_SECRET_JWT, HS256,
    jwt::{self, ReadKey},
};
use crate::{
    client_credentials::auth::{
        CLIENT_SECRET_BASIC,
        proof::{self, Proof},
    },
    error::Error,
    util::wiped::Wiped,
};

/// Authenticates each attempt of a token request: sent unchanged, or by a new signature.
pub(crate) enum Evidence {
    /// Sent unchanged.
    Ready(Proof),
    /// A secret sent by the method that was picked from the server's metadata, or in the form.
    Open(Wiped),
    /// A secret that signs.
    #[cfg(feature = "jwt")]
    Secret(Wiped),
    /// A private key that signs.
    #[cfg(feature = "jwt")]
    Key(ReadKey),
}

impl Evidence {
    /// Returns the proof for one attempt. `method` is the one picked from the server's metadata.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(crate) async fn proof(
        &self,
        method: Option<&str>,
        client_id: &str,
        audience: &str,
    ) -> Result<Proof, Error> {
        match self {
            Self::Ready(proof) => Ok(proof.clone()),
            #[cfg(feature = "jwt")]
            Self::Open(secret) if method == Some(CLIENT_SECRET_JWT) => {
                jwt::sign_by_secret(secret, client_id, audience).map(Proof::Assertion)
            }
            Self::Open(secret) if method == Some(CLIENT_SECRET_BASIC) => {
                Ok(Proof::Basic(secret.clone()))
            }
            Self::Open(secret) => Ok(Proof::Post(secret.clone())),
            #[cfg(feature = "jwt")]
            Self::Secret(secret) => {
                jwt::sign_by_secret(secret, client_id, audience).map(Proof::Assertion)
            }
            #[cfg(feature = "jwt")]
            Self::Key(key) => jwt::sign_by_key(key, client_id, audience)
                .await
                .map(Proof::Assertion),
        }
    }

    /// Texts that no error may show, sent or not. A server cannot echo a private key.
    pub(crate) fn hidden(&self, client_id: &str) -> Vec<Wiped> {
        match self {
            Self::Ready(proof) => proof.hidden(client_id),
            Self::Open(secret) => proof::in_all_forms(client_id, secret),
            #[cfg(feature = "jwt")]
            Self::Secret(secret) => proof::in_all_forms(client_id, secret),
            #[cfg(feature = "jwt")]
            Self::Key(_) => Vec::new(),
        }
    }

    /// Whether both reads returned the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ready(one), Self::Ready(other)) => one == other,
            (Self::Open(one), Self::Open(other)) => one == other,
            #[cfg(feature = "jwt")]
            (Self::Secret(one), Self::Secret(other)) => one == other,
            #[cfg(feature = "jwt")]
            (Self::Key(one), Self::Key(other)) => one.is_same(other),
            _ => false,
        }
    }

    /// The algorithm that signs an assertion, if one is signed for the picked `method`.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(crate) fn algorithm(&self, method: Option<&str>) -> Option<&str> {
        match self {
            #[cfg(feature = "jwt")]
            Self::Open(_) if method == Some(CLIENT_SECRET_JWT) => Some(HS256),
            Self::Ready(_) | Self::Open(_) => None,
            #[cfg(feature = "jwt")]
            Self::Secret(_) => Some(HS256),
            #[cfg(feature = "jwt")]
            Self::Key(key) => Some(key.algorithm()),
        }
    }

    /// Describes how an assertion was signed, for the error if the server rejects it.
    pub(crate) fn signed_with(&self, method: Option<&str>) -> Option<String> {
        match self {
            #[cfg(feature = "jwt")]
            Self::Key(key) => Some(key.description()),
            _ => self
                .algorithm(method)
                .map(|algorithm| format!("{algorithm} and this secret")),
        }
    }
}
