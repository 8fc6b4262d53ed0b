//! What one request to the token endpoint carries to prove who sent it.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use oauth2::AuthType;
use url::form_urlencoded::byte_serialize;

/// The proof of one attempt. The client id goes with each.
#[derive(Clone, PartialEq)]
pub(super) enum Proof {
    /// The secret, in the form.
    Post(String),
    /// The secret, in a Basic header, form-encoded.
    Basic(String),
    /// The secret, in a Basic header, as it is.
    BasicRaw(String),
    /// A signed assertion, in the form ([RFC 7521 §4.2]).
    ///
    /// [RFC 7521 §4.2]: https://www.rfc-editor.org/rfc/rfc7521#section-4.2
    Assertion(String),
    /// Nothing but the client id.
    ClientId,
}

impl Proof {
    /// What the `oauth2` crate is told.
    pub(super) fn auth_type(&self) -> AuthType {
        match self {
            Self::Basic(_) | Self::BasicRaw(_) => AuthType::BasicAuth,
            Self::Post(_) | Self::Assertion(_) | Self::ClientId => AuthType::RequestBody,
        }
    }

    /// The secret, if one is sent.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Post(secret) | Self::Basic(secret) | Self::BasicRaw(secret) => Some(secret),
            Self::Assertion(_) | Self::ClientId => None,
        }
    }

    /// What goes into the form beside what the `oauth2` crate puts there.
    pub(super) fn params(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Assertion(assertion) => vec![
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", assertion),
            ],
            Self::Post(_) | Self::Basic(_) | Self::BasicRaw(_) | Self::ClientId => Vec::new(),
        }
    }

    /// Finishes the request that the `oauth2` crate made: a header with the secret is marked sensitive, and holds id and
    /// secret raw where that is asked for.
    pub(super) fn finish<B>(&self, request: &mut Request<B>, client_id: &str) {
        if let Self::BasicRaw(secret) = self {
            let pair = BASE64_STANDARD.encode(format!("{client_id}:{secret}"));
            // Base64 is always fit for a header.
            if let Ok(basic) = HeaderValue::try_from(format!("Basic {pair}")) {
                request.headers_mut().insert(AUTHORIZATION, basic);
            }
        }
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
    }

    /// What no error may show, in every form in which a server could echo it.
    pub(super) fn hidden(&self, client_id: &str) -> Vec<String> {
        match self {
            Self::Post(secret) | Self::Basic(secret) | Self::BasicRaw(secret) => {
                in_all_forms(client_id, secret)
            }
            Self::Assertion(assertion) => {
                let mut hidden = in_all_forms(client_id, assertion);
                // Without the signature the rest proves nothing, and neither does a text too short to be one.
                let signature = assertion.rsplit_once('.').map(|(_, signature)| signature);
                hidden.extend(signature.filter(|it| it.len() > 20).map(Into::into));
                hidden
            }
            Self::ClientId => Vec::new(),
        }
    }
}

/// A text that proves something, as it may be sent.
pub(super) fn in_all_forms(client_id: &str, text: &str) -> Vec<String> {
    let (id, encoded) = (encode(client_id), encode(text));
    vec![
        BASE64_STANDARD.encode(format!("{client_id}:{text}")),
        BASE64_STANDARD.encode(format!("{id}:{encoded}")),
        encoded,
        text.to_owned(),
    ]
}

fn encode(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
