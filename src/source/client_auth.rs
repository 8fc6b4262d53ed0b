//! How a client proves at the token endpoint who it is.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use oauth2::AuthType;

use crate::error::Error;

/// How the client id and secret go to the token endpoint ([RFC 6749 §2.3.1]).
///
/// Servers commonly enforce the one that a client is registered with, and say `invalid_client` to the others.
///
/// [RFC 6749 §2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAuth {
    /// In the form body, `client_secret_post`. The default: no encoding is disputed.
    #[default]
    Post,
    /// In a Basic header as the RFC has it, `client_secret_basic`: id and secret are form-encoded first. Hydra,
    /// oidc-provider and django-oauth-toolkit need it so.
    Basic,
    /// In a Basic header as other Basic headers are, id and secret as they are. glewlwyd and node-oauth2-server need it
    /// so; it differs from [`Basic`](Self::Basic) only where id or secret have special characters.
    BasicRaw,
}

impl ClientAuth {
    /// What the `oauth2` crate is told.
    pub(super) fn auth_type(self) -> AuthType {
        match self {
            Self::Post => AuthType::RequestBody,
            Self::Basic | Self::BasicRaw => AuthType::BasicAuth,
        }
    }

    /// Looks at id and secret once, when a credential is built.
    pub(super) fn check(self, client_id: &str, secret: &str) -> Result<(), Error> {
        if self == Self::BasicRaw {
            if client_id.contains(':') {
                return Err(Error::configuration(
                    "the client id has a colon, which ends the id in a raw Basic header; use `ClientAuth::Basic` or `ClientAuth::Post`",
                ));
            }
            if client_id.contains(char::is_control) || secret.contains(char::is_control) {
                return Err(Error::configuration(
                    "the client id or secret has a control character (a trailing newline?), which a raw Basic header cannot carry (RFC 7617 section 2)",
                ));
            }
        }
        Ok(())
    }

    /// Finishes the request that the `oauth2` crate made: a header with the secret is marked sensitive, and holds id and
    /// secret raw where that is asked for.
    pub(super) fn finish<B>(self, request: &mut Request<B>, client_id: &str, secret: &str) {
        if self == Self::BasicRaw {
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

    /// What to do about a refused client authentication, where the server's description tells.
    ///
    /// Hydra names the method it wants: "… supports client authentication method 'client_secret_post', but method …".
    /// Hydra and oidc-provider also tell when a Basic header is raw and should not be: "… could not be decoded from
    /// 'application/x-www-form-urlencoded'", "… are not properly encoded".
    pub(super) fn advised_by(description: &str) -> Option<&'static str> {
        const NAMED: &str = "supports client authentication method '";
        if let Some((_, rest)) = description.split_once(NAMED) {
            return match rest.split_once('\'') {
                Some(("client_secret_post", _)) => Some("use `ClientAuth::Post`"),
                Some(("client_secret_basic", _)) => Some("use `ClientAuth::Basic`"),
                _ => None,
            };
        }
        [
            "not properly encoded",
            "could not be decoded from 'application/x-www-form-urlencoded'",
        ]
        .iter()
        .any(|told| description.contains(told))
        .then_some("use `ClientAuth::Basic`")
    }
}
