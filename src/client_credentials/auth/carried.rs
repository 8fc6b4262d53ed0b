//! The client authentication that one request to the token endpoint carries.

use std::borrow::Cow;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use oauth2::{AuthType, ClientSecret};

use crate::{
    client_credentials::form::{self, encode},
    util::wiped::{Lent, Wiped},
};

/// What one request carries to authenticate the client. The client id is sent with each, but for assertions that replace it.
#[derive(Clone, PartialEq)]
pub(crate) enum CarriedAuth {
    /// The secret, in the form.
    Post(Wiped),
    /// The secret, in a Basic header, form-encoded.
    Basic(Wiped),
    /// The secret, in a Basic header, not encoded.
    BasicRaw(Wiped),
    /// A signed assertion, in the form ([RFC 7521 §4.2]).
    ///
    /// [RFC 7521 §4.2]: https://www.rfc-editor.org/rfc/rfc7521#section-4.2
    Assertion(Wiped, AssertionForm),
    /// Nothing but the client id.
    ClientId,
    /// Not even that.
    Nothing,
}

/// What is beside an assertion in the form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AssertionForm {
    /// `client_assertion_type`
    pub(crate) kind: Cow<'static, str>,
    pub(crate) with_client_id: bool,
}

impl Default for AssertionForm {
    fn default() -> Self {
        Self {
            kind: Cow::Borrowed(JWT_BEARER),
            with_client_id: true,
        }
    }
}

impl CarriedAuth {
    /// The authentication that the `oauth2` crate is told. It makes the crate omit the client id from the form if a header
    /// has it. The secret is a placeholder, because the header is replaced or removed, and the crate does not wipe what
    /// it holds.
    pub(crate) fn stand_in(&self) -> (AuthType, Option<ClientSecret>) {
        match self.has_client_id_in_form() {
            true => (AuthType::RequestBody, None),
            false => {
                let none = ClientSecret::new(String::new());
                (AuthType::BasicAuth, Some(none))
            }
        }
    }

    fn has_client_id_in_form(&self) -> bool {
        match self {
            Self::Post(_) | Self::ClientId => true,
            Self::Basic(_) | Self::BasicRaw(_) | Self::Nothing => false,
            Self::Assertion(_, form) => form.with_client_id,
        }
    }

    /// Adds it to the `oauth2` crate's request, and what is asked for. Also returns what must be wiped once it is sent. A
    /// header with the secret is marked sensitive.
    pub(crate) fn add_to<'a>(
        &'a self,
        request: Request<Vec<u8>>,
        client_id: &str,
        grant_type: &str,
        asked: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> (Request<Bytes>, [Lent; 2]) {
        let own: &[(&str, &str)] = match self {
            Self::Post(secret) => &[("client_secret", secret)],
            Self::Assertion(assertion, beside) => &[
                ("client_assertion_type", &beside.kind),
                ("client_assertion", assertion),
            ],
            Self::Basic(_) | Self::BasicRaw(_) | Self::ClientId | Self::Nothing => &[],
        };
        let pairs = asked.chain(own.iter().copied());
        let mut request = request.map(|form| Bytes::from(form::with(&form, grant_type, pairs)));
        let form = Lent::new(request.body());
        let pair = match self {
            Self::Basic(secret) => Some(pair(&encode(client_id), &encode(secret))),
            Self::BasicRaw(secret) => Some(pair(client_id, secret)),
            Self::Post(_) | Self::Assertion(..) | Self::ClientId | Self::Nothing => None,
        };
        // The placeholder's.
        request.headers_mut().remove(AUTHORIZATION);
        let mut header = Lent::default();
        if let Some(pair) = pair {
            let basic = Bytes::from(["Basic ", &pair].concat());
            header = Lent::new(&basic);
            // Base64 is always a valid header value.
            if let Ok(mut basic) = HeaderValue::from_maybe_shared(basic) {
                basic.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, basic);
            }
        }
        (request, [form, header])
    }

    /// How it proves who the client is, for the error if the server does not accept it.
    pub(crate) fn description(&self) -> &'static str {
        match self {
            Self::Post(_) => "the secret was sent in the form",
            Self::Basic(_) => "the secret was sent in a Basic header",
            Self::BasicRaw(_) => "the secret was sent in a Basic header without form encoding",
            Self::Assertion(..) => "an assertion was sent",
            Self::ClientId => "only the client id was sent, no secret and no assertion",
            Self::Nothing => "no client id was sent",
        }
    }

    /// What to do then. Another way is never tried: it would show the secret where it does not belong, and servers lock out
    /// clients that fail often.
    pub(crate) fn other_ways(&self) -> &'static str {
        match self {
            Self::Post(_) => {
                "check the secret; if the client is registered with another method, use `ClientAuth::basic`, \
                 `ClientAuth::basic_raw` or `ClientAuth::secret_jwt`"
            }
            Self::Basic(_) => {
                "check the secret; if the client is registered with another method, use `ClientAuth::post`, \
                 `ClientAuth::basic_raw` or `ClientAuth::secret_jwt`"
            }
            Self::BasicRaw(_) => {
                "check the secret; if the client is registered with another method, use `ClientAuth::basic`, \
                 `ClientAuth::post` or `ClientAuth::secret_jwt`"
            }
            Self::Assertion(..) => {
                "check that the server expects this; if the client is registered with a secret, use `ClientAuth::basic` or \
                 `ClientAuth::post`"
            }
            Self::ClientId => {
                "check the client id and the client certificate; if the client is registered with a secret or a key, use \
                 `ClientAuth::basic`, `ClientAuth::post` or `ClientAuth::private_key_jwt`"
            }
            Self::Nothing => {
                "if the server wants a client, use `ClientCredentials::builder`; otherwise check what the grant shows"
            }
        }
    }

    /// Texts that no error may show, in every form in which a server could echo them.
    pub(crate) fn hidden(&self, client_id: &str) -> Vec<Wiped> {
        match self {
            Self::Post(secret) | Self::Basic(secret) | Self::BasicRaw(secret) => {
                in_all_forms(client_id, secret)
            }
            Self::Assertion(assertion, _) => {
                let mut hidden = in_all_forms(client_id, assertion);
                hidden.extend(signature(assertion));
                hidden
            }
            Self::ClientId | Self::Nothing => Vec::new(),
        }
    }
}

/// A secret text in each form in which it may be sent or echoed.
pub(crate) fn in_all_forms(client_id: &str, text: &str) -> Vec<Wiped> {
    let mut forms = vec![
        pair(client_id, text),
        pair(&encode(client_id), &encode(text)),
    ];
    // Without padding, so that padded and unpadded forms both match.
    for pair in &mut forms {
        *pair = pair.trim_end_matches('=').into();
    }
    forms.extend(alone_in_all_forms(text));
    forms
}

/// The same for a text that is sent without a client id.
pub(crate) fn alone_in_all_forms(text: &str) -> Vec<Wiped> {
    let encoded = encode(text);
    vec![
        BASE64_STANDARD_NO_PAD.encode(text).into(),
        encoded.replace('+', "%20").into(),
        encoded,
        text.into(),
    ]
}

/// The same for an assertion or a token that is shown, which may be a JWT.
pub(crate) fn shown_in_all_forms(text: &str) -> impl Iterator<Item = Wiped> {
    alone_in_all_forms(text).into_iter().chain(signature(text))
}

/// The signature of a JWT: without it the rest proves nothing, and neither does a text too short to be one.
fn signature(jwt: &str) -> Option<Wiped> {
    let (_, signature) = jwt.rsplit_once('.')?;
    (signature.len() > 20).then(|| signature.into())
}

/// The credentials of a Basic header, in base64.
fn pair(id: &str, secret: &str) -> Wiped {
    let pair = Wiped::concat(&[id, ":", secret]);
    BASE64_STANDARD.encode(&*pair).into()
}

/// The assertion type of RFC 7523 §2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
