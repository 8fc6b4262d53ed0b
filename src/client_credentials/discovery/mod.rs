//! Discovery of the token endpoint: authorization server metadata ([RFC 8414]), or [OpenID Connect Discovery].
//!
//! [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
//! [OpenID Connect Discovery]: https://openid.net/specs/openid-connect-discovery-1_0.html

pub(crate) mod endpoint;
pub(crate) mod metadata;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::ACCEPT};
use tokio::time::timeout;
use tower::ServiceExt;
use url::Url;

use crate::{
    client_credentials::{
        discovery::{
            endpoint::{Given, Target},
            metadata::{Capabilities, Metadata},
        },
        response,
        transport::Transport,
    },
    error::{Error, ErrorKind},
    telemetry,
    util::{
        clock::{self, Moment},
        wiped::Wiped,
    },
};

/// How long metadata is used before it is refetched.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long metadata stays in use after a failed refetch.
const USED_ON: Duration = Duration::from_secs(60);

/// How long a token request waits for a refetch if metadata is cached. The rest of its time is for the token endpoint.
const PATIENCE: Duration = Duration::from_secs(2);

/// An issuer and its cached metadata.
pub(crate) struct Discovery {
    /// Compared as it is given (RFC 8414 §3.3).
    issuer: Given,
    client: Capabilities,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    target: Arc<Target>,
    /// When it is refetched.
    until: Moment,
    /// Whether the last refetch failed.
    is_overdue: bool,
}

impl Discovery {
    pub(crate) fn new(issuer: Given, client: Capabilities) -> Self {
        Self {
            issuer,
            client,
            kept: Mutex::new(None),
        }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer.text
    }

    /// Returns the token endpoint, cached or fetched. No error shows what is `hidden`.
    pub(crate) async fn target(
        &self,
        transport: &Transport,
        hidden: &[Wiped],
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
            Ok(Err(error)) if !error.is_transient() || is_not_there(&error) => {
                return Err(error);
            }
            Ok(Err(error)) => error,
            Err(_) => Error::timeout(PATIENCE)
                .retold(format!("the metadata was not received within {PATIENCE:?}")),
        };
        // An outage of the metadata need not be one of the token endpoint.
        let (target, is_news) = self.use_on(known);
        telemetry::metadata_not_renewed(self.issuer(), &error, is_news);
        Ok(target)
    }

    /// Returns the cached target and delays its refetch, or returns what another call has fetched meanwhile. Says whether this is
    /// the first refetch that failed.
    fn use_on(&self, known: Arc<Target>) -> (Arc<Target>, bool) {
        match &mut *self.lock() {
            Some(kept) if !Arc::ptr_eq(&kept.target, &known) => (Arc::clone(&kept.target), false),
            Some(kept) => {
                kept.until = Moment::now().after(USED_ON);
                (known, !mem::replace(&mut kept.is_overdue, true))
            }
            None => (known, true),
        }
    }

    /// Makes the next token request refetch, if `target` is still cached: the endpoint may have moved.
    pub(crate) fn doubt(&self, target: &Arc<Target>) {
        if let Some(kept) = &mut *self.lock()
            && Arc::ptr_eq(&kept.target, target)
        {
            kept.until = Moment::now();
        }
    }

    fn keep(&self, target: Arc<Target>, lifetime: Duration) -> Arc<Target> {
        let last = self.lock().replace(Kept {
            target: Arc::clone(&target),
            until: Moment::now().after(lifetime),
            is_overdue: false,
        });
        if last.is_some_and(|last| last.is_overdue) {
            telemetry::metadata_renewed(self.issuer());
        }
        target
    }

    async fn look_up(&self, transport: &Transport, hidden: &[Wiped]) -> Result<Target, Error> {
        let [first, second] = locations(&self.issuer.url);
        let not_there = match self.metadata(&first, transport, hidden).await {
            Ok(metadata) => return metadata.target(&self.client, &first, hidden),
            Err(error) if may_be_elsewhere(&error) => error,
            Err(error) => return Err(error),
        };
        match self.metadata(&second, transport, hidden).await {
            Ok(metadata) => metadata.target(&self.client, &second, hidden),
            Err(error) if may_be_elsewhere(&error) => Err(nowhere(not_there, error)),
            Err(error) => Err(error),
        }
    }

    /// Fetches the issuer's metadata from this location. Redirects are not followed: the target is not the issuer's.
    async fn metadata(
        &self,
        location: &Url,
        transport: &Transport,
        hidden: &[Wiped],
    ) -> Result<Metadata, Error> {
        let request = Request::get(location.as_str())
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|_| {
                Error::invalid_answer(format!("{location} is not a URL that can be requested"))
            })?;
        let answer = transport.clone().oneshot(request).await;
        let (head, body) = answer
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidAnswer => {
                    error.retold(format!("{location} is larger than 64 KiB"))
                }
                ErrorKind::Unavailable => {
                    error.unanswered_by(&format!("{location}, which names the token endpoint"))
                }
                _ => error,
            })?
            .into_parts();
        if !head.status.is_success() {
            let why = match head.status.is_redirection() {
                true => " (a redirect, which is not followed)".to_owned(),
                false => response::explanation_in(&body, hidden),
            };
            return Err(Error::answered(
                head.status,
                format!("{location} answered {}{why}", head.status.as_u16()),
                None,
                response::retry_after(&head.headers, clock::wall()),
            ));
        }
        Metadata::read(&body, location, &self.issuer.text, hidden).map_err(|error| {
            match response::encoding(&head.headers, hidden) {
                Some(encoded) => {
                    let message = format!("{error}{encoded}");
                    error.retold(message)
                }
                None => error,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        // A lock around a single value is never left half-changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server gave an answer that is not its metadata. Some servers fail at a place that they do not know.
fn may_be_elsewhere(error: &Error) -> bool {
    is_not_there(error)
        || fails(error)
        || matches!(error.kind(), ErrorKind::Denied | ErrorKind::InvalidAnswer)
}

fn fails(error: &Error) -> bool {
    error
        .status()
        .is_some_and(|status| status.is_server_error())
}

/// The error for an issuer whose metadata is in neither place. It has the class of the one that says more: an outage passes,
/// and an invalid document is more than a missing one.
fn nowhere(first: Error, second: Error) -> Error {
    if fails(&first) || fails(&second) {
        let message = format!("the issuer's metadata cannot be fetched now: {first}; {second}");
        let outage = if fails(&first) { first } else { second };
        return outage.retold(message);
    }
    let message =
        format!("the issuer's metadata was not found: {first}; {second}; check the issuer");
    match first.kind() {
        ErrorKind::InvalidAnswer => first.retold(message),
        _ => second.retold(message),
    }
}

/// Whether the server answered that there is nothing here, rather than that it cannot serve now.
fn is_not_there(error: &Error) -> bool {
    let cannot_serve = |status| {
        matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
        )
    };
    error
        .status()
        .is_some_and(|status| status.is_client_error() && !cannot_serve(status))
}

/// The metadata locations of RFC 8414 §3.1 and of OpenID Connect Discovery §4.
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
