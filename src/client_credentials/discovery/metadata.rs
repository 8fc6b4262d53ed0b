//! The metadata of an authorization server ([RFC 8414 §2]), and what a client makes of it.
//!
//! [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2

use bytes::Bytes;
use oauth2::TokenUrl;
use serde::Deserialize;
use url::Url;

use crate::{
    client_credentials::{
        auth::{CLIENT_SECRET_BASIC, ClientAuth},
        check::{self, PlainHttp},
        discovery::endpoint::Target,
        redact::{self, LONGEST_TEXT},
        response,
    },
    error::Error,
    util::wiped::Wiped,
};

/// The methods of a server that does not list any.
const DEFAULT_METHODS: [&str; 1] = [CLIENT_SECRET_BASIC];

/// The metadata fields that are used.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    issuer: Option<String>,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    mtls_endpoint_aliases: Option<Aliases>,
}

/// The endpoints for clients with a certificate ([RFC 8705 §5]).
///
/// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
#[derive(Deserialize)]
struct Aliases {
    token_endpoint: Option<String>,
}

/// What the client supports.
pub(crate) struct Capabilities {
    /// The methods that it can use, best first.
    methods: &'static [&'static str],
    /// Whether its connection has a client certificate.
    by_certificate: bool,
    /// Where it may send its secret without TLS.
    plain_http: PlainHttp,
}

impl Capabilities {
    pub(crate) fn new(auth: &ClientAuth, by_certificate: bool, plain_http: PlainHttp) -> Self {
        Self {
            methods: auth.methods(),
            by_certificate,
            plain_http,
        }
    }
}

impl Metadata {
    /// # Errors
    /// The body is not the metadata of exactly this issuer (RFC 8414 §3.3).
    pub(crate) fn read(
        body: &Bytes,
        location: &Url,
        issuer: &str,
        hidden: &[Wiped],
    ) -> Result<Self, Error> {
        let metadata: Self = response::json_object(body)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or_else(|| {
                Error::invalid_answer(format!(
                    "{location} is not the JSON metadata of an authorization server"
                ))
            })?;
        match metadata.issuer.as_deref() {
            Some(named) if named == issuer => Ok(metadata),
            Some(named) => Err(Error::invalid_answer(format!(
                "{location} is the metadata of the issuer {:?}, not of {issuer:?}; they must be \
                 exactly the same",
                redact::clean(named, LONGEST_TEXT, hidden),
            ))),
            None => Err(Error::invalid_answer(format!("{location} names no issuer"))),
        }
    }

    /// Returns the token endpoint and the authentication method for this client.
    ///
    /// # Errors
    /// There is no valid token endpoint, or the server offers none of the client's methods.
    pub(crate) fn target(
        self,
        client: &Capabilities,
        location: &Url,
        hidden: &[Wiped],
    ) -> Result<Target, Error> {
        let method = self.method(client, hidden)?;
        let alias = self
            .mtls_endpoint_aliases
            .and_then(|aliases| aliases.token_endpoint)
            .filter(|_| client.by_certificate);
        let Some(token_url) = alias.or(self.token_endpoint) else {
            return Err(Error::invalid_answer(format!(
                "{location} names no token endpoint"
            )));
        };
        let url = check::token_url(&token_url, client.plain_http).map_err(|error| {
            Error::invalid_answer(format!(
                "{location} names a token endpoint that is not valid: {error}"
            ))
        })?;
        // Plain http lets a local process impersonate the endpoint, or the network read the secret.
        if url.scheme() == "http" && location.scheme() != "http" {
            return Err(Error::invalid_answer(format!(
                "{location} names a token endpoint that is not https"
            )));
        }
        Ok(Target {
            token_url: TokenUrl::from_url(url),
            token_endpoint: token_url,
            issuer: self.issuer,
            method: Some(method),
            algorithms: self.token_endpoint_auth_signing_alg_values_supported,
        })
    }

    /// The best method that both sides support.
    fn method(&self, client: &Capabilities, hidden: &[Wiped]) -> Result<&'static str, Error> {
        let offered: Vec<&str> = match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().map(|method| &**method).collect(),
            None => DEFAULT_METHODS.to_vec(),
        };
        let best = client.methods.iter().find(|own| offered.contains(own));
        best.copied().ok_or_else(|| {
            Error::unsupported(format!(
                "the server's metadata offers the client authentication {}, but this credential supports only {}; use a \
                 `ClientAuth` that the server offers",
                redact::clean(&offered.join(", "), LONGEST_TEXT, hidden),
                client.methods.join(", "),
            ))
        })
    }
}
