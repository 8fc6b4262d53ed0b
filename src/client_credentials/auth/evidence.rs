//! The client authentication as it was read for one token request.

#[cfg(feature = "jwt")]
use std::sync::Arc;

#[cfg(feature = "jwt")]
use crate::client_credentials::auth::{
    CLIENT_SECRET_JWT,
    jwt::{Assertion, SigningAlgorithm, SigningKey, assertion::ReadAssertion},
    proof::AssertionForm,
    secret::Secret,
};
use crate::{
    client_credentials::{
        auth::{
            CLIENT_SECRET_BASIC,
            proof::{self, Proof},
        },
        discovery::endpoint::Target,
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
    /// An assertion that is signed for each attempt.
    #[cfg(feature = "jwt")]
    Signed(Arc<ReadAssertion>, AssertionForm),
}

impl Evidence {
    /// What it is at this server: a secret without a method gets the one that was picked.
    ///
    /// # Errors
    /// The server lists the algorithms that it accepts, and this credential's is not among them.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_async, unused_variables))]
    pub(crate) async fn at(&self, target: &Target, hidden: &[Wiped]) -> Result<Self, Error> {
        let evidence = match self {
            Self::Ready(proof) => Self::Ready(proof.clone()),
            #[cfg(feature = "jwt")]
            Self::Open(secret) if target.method == Some(CLIENT_SECRET_JWT) => {
                use SigningAlgorithm::{Hs256, Hs384, Hs512};
                let listed = |it: &SigningAlgorithm| target.listed(it.names()).is_some();
                let algorithm = [Hs256, Hs384, Hs512].into_iter().find(listed);
                let secret = Secret::of(secret.clone());
                let key = SigningKey::from_secret(algorithm.unwrap_or(Hs256), secret);
                let assertion = Assertion::signed_by(key).read().await?;
                Self::Signed(Arc::new(assertion), AssertionForm::default())
            }
            Self::Open(secret) if target.method == Some(CLIENT_SECRET_BASIC) => {
                Self::Ready(Proof::Basic(secret.clone()))
            }
            Self::Open(secret) => Self::Ready(Proof::Post(secret.clone())),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, form) => Self::Signed(Arc::clone(assertion), form.clone()),
        };
        #[cfg(feature = "jwt")]
        if let Self::Signed(assertion, _) = &evidence {
            assertion.check(target, hidden)?;
        }
        Ok(evidence)
    }

    /// Returns the proof for one attempt at this server.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_async, unused_variables))]
    pub(crate) async fn proof(&self, target: &Target, client_id: &str) -> Result<Proof, Error> {
        match self {
            Self::Ready(proof) => Ok(proof.clone()),
            Self::Open(secret) => Ok(Proof::Post(secret.clone())),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, form) => {
                let signed = assertion.sign(target, client_id).await?;
                Ok(Proof::Assertion(signed, form.clone()))
            }
        }
    }

    /// Texts that no error may show, sent or not.
    pub(crate) fn hidden(&self, client_id: &str) -> Vec<Wiped> {
        match self {
            Self::Ready(proof) => proof.hidden(client_id),
            Self::Open(secret) => proof::in_all_forms(client_id, secret),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, _) => assertion.key.hidden(client_id),
        }
    }

    /// Whether both reads returned the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ready(one), Self::Ready(other)) => one == other,
            (Self::Open(one), Self::Open(other)) => one == other,
            #[cfg(feature = "jwt")]
            (Self::Signed(one, _), Self::Signed(other, _)) => one.key.is_same(&other.key),
            _ => false,
        }
    }

    /// Describes how an assertion is signed and for whom, for the error if the server rejects it.
    #[cfg_attr(not(feature = "jwt"), expect(unused_variables))]
    pub(crate) fn signed_with(&self, target: &Target, hidden: &[Wiped]) -> Option<String> {
        match self {
            Self::Ready(_) | Self::Open(_) => None,
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, _) => Some(assertion.description(target, hidden)),
        }
    }
}
