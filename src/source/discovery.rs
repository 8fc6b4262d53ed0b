//! The token endpoint as its issuer tells it: authorization server metadata ([RFC 8414]), or [OpenID Connect Discovery].
//!
//! [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
//! [OpenID Connect Discovery]: https://openid.net/specs/openid-connect-discovery-1_0.html

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header::ACCEPT};
use oauth2::TokenUrl;
use serde::Deserialize;
use tokio::time::timeout;
use tower::ServiceExt;
use url::Url;

use super::{
    check,
    client_auth::{CLIENT_SECRET_BASIC, CLIENT_SECRET_JWT, ClientAuth},
    endpoint::{Given, Target},
    response,
    transport::Transport,
};
use crate::{
    clock::{self, Moment},
    error::{Error, ErrorKind},
    telemetry,
};

/// How long metadata is used before it is asked for again.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long metadata is used on after it could not be had again.
const USED_ON: Duration = Duration::from_secs(60);

/// How long an exchange that could go on with what is known waits for news. The rest of its time is for the token endpoint.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server takes that does not say what it takes (RFC 8414 §2).
const DEFAULT_METHODS: [&str; 1] = [CLIENT_SECRET_BASIC];

/// Text of a server is cut here, in characters.
const LONGEST_TEXT: usize = 300;

/// An issuer, and what it last told.
pub(super) struct Discovery {
    /// Compared as it is given (RFC 8414 §3.3).
    issuer: Given,
    /// The methods by which the client can prove itself, best first.
    methods: &'static [&'static str],
    /// Whether the connection has a client certificate, for which there may be an endpoint of its own ([RFC 8705 §5]).
    ///
    /// [RFC 8705 §5]: https://www.rfc-editor.org/rfc/rfc8705#section-5
    by_certificate: bool,
    /// Whom an assertion that is signed here is for, if not for the token endpoint.
    audience: Option<String>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    target: Arc<Target>,
    /// When it is to be asked for again.
    until: Moment,
}

impl Discovery {
    pub(super) fn new(
        issuer: Given,
        auth: &ClientAuth,
        by_certificate: bool,
        audience: Option<String>,
    ) -> Self {
        Self {
            issuer,
            methods: auth.methods(),
            by_certificate,
            audience,
            kept: Mutex::new(None),
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer.text
    }

    /// The token endpoint: as it is known, or as the issuer tells it now. No error shows what is `hidden`.
    pub(super) async fn target(
        &self,
        transport: &Transport,
        hidden: &[String],
    ) -> Result<Arc<Target>, Error> {
        let now = Moment::now();
        let kept = self.lock().clone();
        let known = match kept {
            Some(kept) if !kept.until.is_over(now) => return Ok(kept.target),
            Some(kept) => kept.target,
            None => {
                let target = self.look_up(transport, hidden).await?;
                return Ok(self.keep(Arc::new(target), FRESH));
            }
        };
        let error = match timeout(PATIENCE, self.look_up(transport, hidden)).await {
            Ok(Ok(target)) => return Ok(self.keep(Arc::new(target), FRESH)),
            Ok(Err(error)) if !error.is_transient() => return Err(error),
            Ok(Err(error)) => error,
            Err(_) => Error::timeout(PATIENCE),
        };
        // Where the metadata is out of order the token endpoint need not be.
        telemetry::metadata_not_renewed(&error);
        Ok(self.keep(known, USED_ON))
    }

    /// Looks it up anew at the next exchange, if `target` is still what is known: the endpoint may have moved.
    pub(super) fn doubt(&self, target: &Arc<Target>) {
        if let Some(kept) = &mut *self.lock()
            && Arc::ptr_eq(&kept.target, target)
        {
            kept.until = Moment::now();
        }
    }

    fn keep(&self, target: Arc<Target>, lifetime: Duration) -> Arc<Target> {
        *self.lock() = Some(Kept {
            target: Arc::clone(&target),
            until: Moment::now().after(lifetime),
        });
        target
    }

    async fn look_up(&self, transport: &Transport, hidden: &[String]) -> Result<Target, Error> {
        let [first, second] = locations(&self.issuer.url);
        let not_there = match self.document(&first, transport, hidden).await {
            Ok(document) => return self.understood(document, &first, hidden),
            Err(error) if may_be_elsewhere(&error) => error,
            Err(error) => return Err(error),
        };
        match self.document(&second, transport, hidden).await {
            Ok(document) => self.understood(document, &second, hidden),
            Err(error) if may_be_elsewhere(&error) => {
                let message = format!(
                    "the issuer's metadata was not found: {not_there}; {error}. Is the issuer right?"
                );
                Err(match not_there.kind() {
                    // There is something, and it says more than that there is nothing.
                    ErrorKind::InvalidAnswer => not_there.retold(message),
                    _ => error.retold(message),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The issuer's document, if it is at this location. Redirects are not followed: what they lead to is not the issuer's.
    async fn document(
        &self,
        location: &Url,
        transport: &Transport,
        hidden: &[String],
    ) -> Result<Document, Error> {
        let request = Request::get(location.as_str())
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| Error::invalid_answer(format!("{location} cannot be asked for")))?;
        let answer = transport.clone().oneshot(request).await;
        let (head, body) = answer
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidAnswer => {
                    error.retold(format!("{location} is larger than 64 KiB"))
                }
                ErrorKind::Unavailable => error.retold(format!(
                    "could not get an answer from {location}, which is to tell the token endpoint"
                )),
                _ => error,
            })?
            .into_parts();
        if !head.status.is_success() {
            let redirect = match head.status.is_redirection() {
                true => " (a redirect, which is not followed)",
                false => "",
            };
            return Err(Error::answered(
                head.status,
                format!("{location} answered {}{redirect}", head.status.as_u16()),
                None,
                response::retry_after(&head.headers, clock::wall()),
            ));
        }
        let document: Document = response::json_object(&body)
            .and_then(|json| serde_json::from_slice(json).ok())
            .ok_or_else(|| {
                Error::invalid_answer(format!("{location} is no metadata of a server in JSON"))
            })?;
        match document.issuer.as_deref() {
            Some(issuer) if issuer == self.issuer.text => Ok(document),
            Some(issuer) => Err(Error::invalid_answer(format!(
                "{location} is the metadata of the issuer {:?} and not of {:?}, and they have to be the same to the letter",
                response::clean(issuer, LONGEST_TEXT, hidden),
                self.issuer.text
            ))),
            None => Err(Error::invalid_answer(format!("{location} names no issuer"))),
        }
    }

    /// What the issuer's own document comes to for this client.
    fn understood(
        &self,
        document: Document,
        location: &Url,
        hidden: &[String],
    ) -> Result<Target, Error> {
        let method = self.method(&document, hidden)?;
        let alias = document
            .mtls_endpoint_aliases
            .and_then(|aliases| aliases.token_endpoint)
            .filter(|_| self.by_certificate);
        let Some(token_url) = alias.or(document.token_endpoint) else {
            return Err(Error::invalid_answer(format!(
                "{location} names no token endpoint"
            )));
        };
        let url = check::token_url(&token_url).map_err(|error| {
            Error::invalid_answer(format!(
                "{location} names a token endpoint that does not do: {error}"
            ))
        })?;
        Ok(Target {
            token_url: TokenUrl::from_url(url),
            audience: self.audience.clone().unwrap_or(token_url),
            method: Some(method),
            algorithms: document
                .token_endpoint_auth_signing_alg_values_supported
                .map(|algorithms| {
                    let clean = |it: &String| response::clean(it, LONGEST_TEXT, hidden);
                    algorithms.iter().map(clean).collect()
                }),
        })
    }

    /// The best method of those that both sides have.
    fn method(&self, document: &Document, hidden: &[String]) -> Result<&'static str, Error> {
        let offered: Vec<&str> = match &document.token_endpoint_auth_methods_supported {
            Some(methods) => methods.iter().map(|method| &**method).collect(),
            None => DEFAULT_METHODS.to_vec(),
        };
        let only = self.methods.len() == 1;
        let signable = match &document.token_endpoint_auth_signing_alg_values_supported {
            Some(algorithms) => algorithms.iter().any(|algorithm| algorithm == HS256),
            None => true,
        };
        let mut common = self.methods.iter().filter(|own| offered.contains(own));
        // Where it is the only one, the error about its algorithm says more.
        let best = common.find(|own| **own != CLIENT_SECRET_JWT || signable || only);
        best.copied().ok_or_else(|| {
            // It is what the server would say at each try, until one of the two is set up otherwise.
            Error::unsupported(format!(
                "the server's metadata offers the client authentication {}, and this credential can only be {}; use a \
                 `ClientAuth` that the server offers",
                response::clean(&offered.join(", "), LONGEST_TEXT, hidden),
                self.methods.join(", "),
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        // A lock around a single value is never left half-changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an issuer's metadata may be: as RFC 8414 §3.1 has it, and as OpenID Connect Discovery §4 has it.
fn locations(issuer: &Url) -> [Url; 2] {
    let path = issuer.path();
    let path = path.strip_suffix('/').unwrap_or(path);
    [
        format!("/.well-known/oauth-authorization-server{path}"),
        format!("{path}/.well-known/openid-configuration"),
    ]
    .map(|path| {
        let mut location = issuer.clone();
        location.set_path(&path);
        location
    })
}

/// Whether the server answered for good, with something that is not its metadata.
fn may_be_elsewhere(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::InvalidAnswer)
}

/// What there is to know of a server's metadata (RFC 8414 §2).
#[derive(Deserialize)]
struct Document {
    issuer: Option<String>,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    mtls_endpoint_aliases: Option<Aliases>,
}

/// RFC 8705 §5.
#[derive(Deserialize)]
struct Aliases {
    token_endpoint: Option<String>,
}

const HS256: &str = "HS256";
