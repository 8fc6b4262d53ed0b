//! Decides whether a request is sent, and whether it gets a token.

use http::{Request, Uri};

use crate::{
    error::Error,
    middleware::{carrier::Carrier, extension::NoToken},
    select::{ExistingAuthorization, RequestHead, Select},
    telemetry,
    util::loopback::is_loopback,
};

/// A layer's settings for selected and unselected requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    pub(crate) carrier: Carrier,
    pub(crate) existing: ExistingAuthorization,
    pub(crate) denies_unselected: bool,
    pub(crate) allows_plain_http: bool,
}

/// The decision on a request.
pub(crate) enum Verdict<K> {
    /// Send it with a token of this credential.
    Token(K),
    /// Send it unchanged.
    Pass,
    /// Do not send it.
    Deny(Error),
}

impl Admission {
    pub(crate) fn admit<B, Sel: Select>(
        &self,
        select: &Sel,
        request: &Request<B>,
    ) -> Verdict<Sel::Key> {
        if request.extensions().get::<NoToken>().is_some() {
            telemetry::without_token("opted_out", request.uri().host());
            return Verdict::Pass;
        }
        let uri = request.uri();
        // Selection comes first: an existing `Authorization` must not let a request bypass `deny_unselected`.
        let selected = match is_of_a_tunnel(uri) {
            true => None,
            false => select.select(&RequestHead::from(request)),
        };
        let Some(key) = selected else {
            return match self.denies_unselected {
                true => Verdict::Deny(Error::unselected(&origin_of(uri))),
                false => {
                    telemetry::without_token("not_selected", uri.host());
                    Verdict::Pass
                }
            };
        };
        if self.carrier.is_in(request.headers()) {
            match self.existing {
                ExistingAuthorization::Keep => {
                    telemetry::without_token("has_authorization", uri.host());
                    return Verdict::Pass;
                }
                ExistingAuthorization::Replace => {}
                ExistingAuthorization::Deny => {
                    return Verdict::Deny(Error::authorized_already(&self.carrier.to_string()));
                }
            }
        }
        if !self.allows_plain_http && is_unencrypted(uri) {
            return Verdict::Deny(Error::in_the_clear(&origin_of(uri)));
        }
        Verdict::Token(key)
    }
}

/// Whether the URI is only a host and a port, as in a CONNECT to a proxy ([RFC 9112 §3.2.3]). The token is for the API, not
/// for the proxy.
///
/// [RFC 9112 §3.2.3]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.3
fn is_of_a_tunnel(uri: &Uri) -> bool {
    uri.scheme().is_none() && uri.authority().is_some()
}

/// Whether a token would be sent unencrypted ([RFC 6750 §5.3]): over any scheme that is not known to be safe. Schemes are
/// compared without case. A URI without a scheme is allowed: the connection below decides.
///
/// [RFC 6750 §5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
fn is_unencrypted(uri: &Uri) -> bool {
    let Some(scheme) = uri.scheme_str() else {
        return false;
    };
    let is_safe = SAFE.iter().any(|safe| scheme.eq_ignore_ascii_case(safe));
    !is_safe && !uri.host().is_some_and(is_loopback)
}

const SAFE: [&str; 2] = ["https", "wss"];

/// The origin as errors show it: without user info (it may hold a password), path and query.
fn origin_of(uri: &Uri) -> String {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return "no origin of its own".to_owned();
    };
    let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host_and_port}")
}
