//! What tells one client's tokens from another's, for a store that many share.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::header::USER_AGENT;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ClientCredentials,
    auth::{carried::CarriedAuth, read::ReadAuth},
    discovery::endpoint::Endpoint,
    grant::ReadGrant,
    request::Credential,
};
use crate::{
    error::Error,
    token::{Token, remedies::Origin},
    util::parts::Add,
};

impl ClientCredentials {
    /// Names all that decides which token the server gives, the secret as it is now included.
    pub(crate) async fn identify(&self, add: Add<'_>) -> Result<(), Error> {
        // All fields by name: a new one has to say here whether it counts.
        let Credential {
            endpoint,
            client_id,
            auth,
            grant,
            scopes,
            all_scopes,
            params,
            headers,
            remedies,
            keep,
            #[cfg(feature = "rustls-no-provider")]
            certificate,
            #[cfg(feature = "dpop")]
            dpop,
            requester: _,
            given: _,
        } = &*self.credential;
        match endpoint {
            Endpoint::Known(target) => add("token_url", target.token_url.url().as_str().as_bytes()),
            Endpoint::Discovered(discovery) => add("issuer", discovery.issuer().as_bytes()),
        }
        add("client_id", client_id.as_bytes());
        for method in auth.methods() {
            add("method", method.as_bytes());
        }
        auth.read().await?.identify(add);
        grant.read().await?.identify(add);
        #[cfg(feature = "rustls-no-provider")]
        if let Some(certificate) = certificate {
            // A token may be bound to it (RFC 8705 section 3).
            add("certificate", certificate.read_chain().await?.as_bytes());
        }
        #[cfg(feature = "dpop")]
        if let Some(dpop) = dpop {
            if dpop.key.is_generated() {
                return Err(Error::configuration(
                    "the tokens are bound to a key that only this process has, so they cannot be shared; give all processes one \
                     key, by `DpopKey::from_pem`, `DpopKey::from_jwk` or `DpopKey::held_by`",
                ));
            }
            add("dpop", dpop.key.thumbprint().as_bytes());
            add("accepts_bearer", &[u8::from(dpop.accepts_bearer)]);
        }
        // Their order says nothing.
        let mut scopes: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        scopes.sort_unstable();
        for scope in scopes {
            add("scope", scope.as_bytes());
        }
        add("all_scopes", &[u8::from(*all_scopes)]);
        // A token may come to have them. Those who may not ask for them must not get it.
        let mut scopes: Vec<_> = remedies.iter().flat_map(|it| it.allowed()).collect();
        scopes.sort_unstable();
        for scope in scopes {
            add("step_up_scope", scope.as_bytes());
        }
        for (name, value) in params {
            add("param", name.as_bytes());
            add("value", value.as_bytes());
        }
        // But for its own name, which changes with its version.
        for (name, value) in headers.iter().filter(|(name, _)| *name != USER_AGENT) {
            add("header", name.as_str().as_bytes());
            add("value", value.as_bytes());
        }
        for name in keep {
            add("keep", name.as_bytes());
        }
        Ok(())
    }
}

impl ClientCredentials {
    /// Gives a token of this identity out of a store what its source can do about a challenge.
    pub(crate) fn equip(&self, token: Token) -> Token {
        match &self.credential.remedies {
            Some(remedies) => token.with_remedies(remedies, Origin::Elsewhere),
            None => token,
        }
    }
}

impl ReadAuth {
    fn identify(&self, add: Add<'_>) {
        match self {
            Self::Open(secret) => add("secret", secret.as_bytes()),
            Self::Ready(CarriedAuth::Post(secret)) => add("post", secret.as_bytes()),
            Self::Ready(CarriedAuth::Basic(secret)) => add("basic", secret.as_bytes()),
            Self::Ready(CarriedAuth::BasicRaw(secret)) => add("basic_raw", secret.as_bytes()),
            Self::Ready(CarriedAuth::Assertion(assertion, form)) => {
                add("assertion_type", form.kind.as_bytes());
                identify_third_party(assertion, add);
            }
            Self::Ready(CarriedAuth::ClientId | CarriedAuth::Nothing) => {}
            #[cfg(feature = "jwt")]
            Self::Signed(assertion, form) => {
                add("assertion_type", form.kind.as_bytes());
                assertion.identify(add);
            }
        }
    }
}

impl ReadGrant {
    fn identify(&self, add: Add<'_>) {
        match self {
            Self::ClientCredentials(name) => add("grant_type", name.as_bytes()),
            Self::TokenExchange(exchange) => {
                add("grant", b"token exchange");
                exchange.identify(add);
                for token in exchange.tokens() {
                    identify_third_party(&token.text, add);
                }
            }
            Self::Assertion(assertion) => {
                add("grant", b"assertion");
                identify_third_party(&assertion.text, add);
            }
            #[cfg(feature = "jwt")]
            Self::Signed(assertion) => {
                add("grant", b"signed assertion");
                assertion.identify(add);
            }
        }
    }
}

fn identify_third_party(text: &str, add: Add<'_>) {
    match Subject::of(text) {
        Some(subject) => {
            add("issuer", subject.iss.as_bytes());
            add("subject", subject.sub.as_bytes());
            add("audience", subject.aud.to_string().as_bytes());
        }
        None => add("assertion", text.as_bytes()),
    }
}

/// Whom an assertion of a third party is about. Each process may have one of its own, which is new each hour, for the same subject.
#[derive(Deserialize)]
struct Subject {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Value,
}

impl Subject {
    /// `None` if it is no JWT that says so.
    fn of(assertion: &str) -> Option<Self> {
        let claims = assertion.trim().split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice(&claims).ok()
    }
}
