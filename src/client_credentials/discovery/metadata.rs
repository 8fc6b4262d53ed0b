//! The metadata of an authorization server ([RFC 8414 §2]), and what it comes to for a client.
//!
//! [RFC 8414 §2]: https://www.rfc-editor.org/rfc/rfc8414#section-2

use bytes::Bytes;
use oauth2::TokenUrl;
use serde::Deserialize;
use url::Url;

use crate::{
    client_credentials::{
        auth::{CLIENT_SECRET_BASIC, CLIENT_SECRET_JWT, ClientAuth, HS256},
        check::{self, PlainHttp},
        discovery::endpoint::Target,
        redact::{self, LONGEST_TEXT},
        response,
    },
    error::Error,
    util::wiped::Wiped,
};

/// What a server takes that does not say what it takes.
const DEFAULT_METHODS: [&str; 1] = [CLIENT_SECRET_BASIC];

/// What there is to know of it.
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

/// Who wants to know.
pub(crate) struct Capabilities {
    /// The methods by which it can prove itself, best first.
    methods: &'static [&'static str],
    /// Whether its connection has a certificate.
    by_certificate: bool,
    /// Whom an assertion that it signs is for, if not for the token endpoint.
    audience: Option<String>,
    /// Where it lets its secret go without TLS.
    plain_http: PlainHttp,
}

impl Capabilities {
    pub(crate) fn new(
        auth: &ClientAuth,
        by_certificate: bool,
        audience: Option<String>,
        plain_http: PlainHttp,
    ) -> Self {
        Self {
            methods: auth.methods(),
            by_certificate,
            audience,
            plain_http,
        }
    }
}

impl Metadata {
    /// # Errors
    /// Where the body is not the metadata of this issuer, to the letter (RFC 8414 §3.3).
    pub(crate) fn read(
        body: &Bytes,
        location: &Url,
        issuer: &str,
        hidden: &[Wiped],
    ) -> Result<Self, Error> {
        let metadata: Self = response::json_object(body)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or_else(|| {
                Error::invalid_answer(format!("{location} is no metadata of a server in JSON"))
            })?;
        match metadata.issuer.as_deref() {
            Some(named) if named == issuer => Ok(metadata),
            Some(named) => Err(Error::invalid_answer(format!(
                "{location} is the metadata of the issuer {:?} and not of {issuer:?}, and they have to be the same to the \
                 letter",
                redact::clean(named, LONGEST_TEXT, hidden),
            ))),
            None => Err(Error::invalid_answer(format!("{location} names no issuer"))),
        }
    }

    /// Where this client goes, and how it proves itself there.
    ///
    /// # Errors
    /// Where there is no token endpoint that does, or none of the client's methods is offered.
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
                "{location} names a token endpoint that does not do: {error}"
            ))
        })?;
        // It is loopback then, where anybody may listen, or anywhere, where anybody may read.
        if url.scheme() == "http" && location.scheme() != "http" {
            return Err(Error::invalid_answer(format!(
                "{location} names a token endpoint that is not https"
            )));
        }
        Ok(Target {
            token_url: TokenUrl::from_url(url),
            audience: client.audience.clone().unwrap_or(token_url),
            method: Some(method),
            algorithms: self.token_endpoint_auth_signing_alg_values_supported,
        })
    }

    /// The best method of those that both sides have.
    fn method(&self, client: &Capabilities, hidden: &[Wiped]) -> Result<&'static str, Error> {
        let offered: Vec<&str> = match &self.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().map(|method| &**method).collect(),
            None => DEFAULT_METHODS.to_vec(),
        };
        let signable = match &self.token_endpoint_auth_signing_alg_values_supported {
            Some(algorithms) => algorithms.iter().any(|algorithm| algorithm == HS256),
            None => true,
        };
        let common = || client.methods.iter().filter(|own| offered.contains(own));
        let best = common().find(|own| **own != CLIENT_SECRET_JWT || signable);
        // Where there is no other, the error about the algorithm says more.
        let best = best.or_else(|| common().next());
        best.copied().ok_or_else(|| {
            Error::unsupported(format!(
                "the server's metadata offers the client authentication {}, and this credential can only be {}; use a \
                 `ClientAuth` that the server offers",
                redact::clean(&offered.join(", "), LONGEST_TEXT, hidden),
                client.methods.join(", "),
            ))
        })
    }
}
