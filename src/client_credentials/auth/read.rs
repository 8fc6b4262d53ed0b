//! The client authentication as it was read for one token request.

#[cfg(feature = "jwt")]
use crate::client_credentials::auth::{
    CLIENT_SECRET_JWT,
    carried::AssertionForm,
    jwt::{Assertion, SigningAlgorithm, SigningKey, assertion::ReadAssertion},
    secret::Secret,
};
use crate::{
    client_credentials::{
        auth::{
            CLIENT_SECRET_BASIC,
            carried::{self, CarriedAuth},
        },
        discovery::endpoint::Target,
    },
    error::Error,
    util::wiped::Wiped,
};

/// Authenticates each attempt of a token request: sent unchanged, or by a new signature.
pub(crate) enum ReadAuth {
    /// Sent unchanged.
    Ready(CarriedAuth),
    /// A secret sent by the method that was picked from the server's metadata, or in the form.
    Open(Wiped),
    /// An assertion that is signed for each attempt.
    #[cfg(feature = "jwt")]
    Signed(Box<ReadAssertion>, AssertionForm),
}

/// The client authentication of one attempt.
pub(crate) struct Prepared {
    pub(crate) carried: CarriedAuth,
    /// How an assertion was signed and for whom, for the error if the server rejects it.
    pub(crate) signed: Option<String>,
}

impl ReadAuth {
    /// Prepares one attempt at this server. A secret without a method is sent by the one that was picked.
    ///
    /// # Errors
    /// The server lists the algorithms that it accepts, and this credential's is not among them.
    #[cfg_attr(not(feature = "jwt"), expect(clippy::unused_async, unused_variables))]
    pub(crate) async fn prepare(
        &self,
        target: &Target,
        client_id: &str,
        hidden: &[Wiped],
    ) -> Result<Prepared, Error> {
        let carried = match self {
            Self::Ready(carried) => carried.clone(),
            #[cfg(feature = "jwt")]
            Self::Open(secret) if target.method == Some(CLIENT_SECRET_JWT) => {
                use SigningAlgorithm::{Hs256, Hs384, Hs512};
                let listed = |it: &SigningAlgorithm| target.listed(it.names()).is_some();
                let algorithm = [Hs256, Hs384, Hs512].into_iter().find(listed);
                let secret = Secret::of(secret.clone());
                let key = SigningKey::from_secret(algorithm.unwrap_or(Hs256), secret);
                let assertion = Assertion::signed_by(key).read().await?;
                let form = &AssertionForm::default();
                return Prepared::signed(&assertion, form, target, client_id, hidden).await;
            }
            Self::Open(secret) if target.method == Some(CLIENT_SECRET_BASIC) => {
                CarriedAuth::Basic(secret.clone())
            }
            Self::Open(secret) => CarriedAuth::Post(secret.clone()),
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, form) => {
                return Prepared::signed(assertion, form, target, client_id, hidden).await;
            }
        };
        let signed = None;
        Ok(Prepared { carried, signed })
    }

    /// Texts that no error may show, sent or not.
    pub(crate) fn hidden(&self, client_id: &str) -> Vec<Wiped> {
        match self {
            Self::Ready(carried) => carried.hidden(client_id),
            Self::Open(secret) => carried::in_all_forms(client_id, secret),
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
}

#[cfg(feature = "jwt")]
impl Prepared {
    async fn signed(
        assertion: &ReadAssertion,
        form: &AssertionForm,
        target: &Target,
        client_id: &str,
        hidden: &[Wiped],
    ) -> Result<Self, Error> {
        let text = assertion.sign(target, client_id, hidden).await?;
        Ok(Self {
            carried: CarriedAuth::Assertion(text, form.clone()),
            signed: Some(assertion.description(target, hidden)),
        })
    }
}
