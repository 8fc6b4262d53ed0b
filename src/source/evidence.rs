//! What a client proves itself with, as it was when it was read for an exchange.

use super::proof::Proof;
#[cfg(feature = "jwt")]
use super::{
    jwt::{self, ReadKey},
    proof,
};
use crate::error::Error;

/// Each attempt of an exchange is proven by it: as it is, or by something that it signs anew.
pub(super) enum Evidence {
    /// It goes as it is.
    Ready(Proof),
    /// It signs.
    #[cfg(feature = "jwt")]
    Secret(String),
    /// It signs.
    #[cfg(feature = "jwt")]
    Key(ReadKey),
}

impl Evidence {
    /// What one attempt carries.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(super) async fn proof(&self, client_id: &str, audience: &str) -> Result<Proof, Error> {
        match self {
            Self::Ready(proof) => Ok(proof.clone()),
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

    /// What no error may show, though it is not sent. A private key is nothing that a server could echo.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(super) fn hidden(&self, client_id: &str) -> Vec<String> {
        match self {
            Self::Ready(_) => Vec::new(),
            #[cfg(feature = "jwt")]
            Self::Secret(secret) => proof::in_all_forms(client_id, secret),
            #[cfg(feature = "jwt")]
            Self::Key(_) => Vec::new(),
        }
    }

    /// Whether both were read as the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ready(one), Self::Ready(other)) => one == other,
            #[cfg(feature = "jwt")]
            (Self::Secret(one), Self::Secret(other)) => one == other,
            #[cfg(feature = "jwt")]
            (Self::Key(one), Self::Key(other)) => one.is_same(other),
            #[cfg(feature = "jwt")]
            _ => false,
        }
    }

    /// What an assertion that is signed here was signed with: all that a server who refuses it may not expect.
    pub(super) fn signed_with(&self) -> Option<String> {
        match self {
            Self::Ready(_) => None,
            #[cfg(feature = "jwt")]
            Self::Secret(_) => Some("HS256 and this secret".to_owned()),
            #[cfg(feature = "jwt")]
            Self::Key(key) => Some(key.description()),
        }
    }
}
