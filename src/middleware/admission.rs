//! Whether a request is sent, and whether with a token: where tokens may go, and whose `Authorization` counts.

use http::{Request, Uri, header::AUTHORIZATION};

use crate::{
    error::Error,
    middleware::extension::NoToken,
    select::{ExistingAuthorization, RequestHead, Select},
    util::loopback::is_loopback,
};

/// What a layer was told about requests that are none of its business, and about those that are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Admission {
    pub(crate) existing: ExistingAuthorization,
    pub(crate) denies_unselected: bool,
    pub(crate) allows_plain_http: bool,
}

/// What is done with a request.
pub(crate) enum Verdict<K> {
    /// It gets a token of this credential.
    Token(K),
    /// It is sent as it came.
    Pass,
    /// It is not sent.
    Deny(Error),
}

impl Admission {
    pub(crate) fn admit<B, Sel: Select>(
        self,
        select: &Sel,
        request: &Request<B>,
    ) -> Verdict<Sel::Key> {
        if request.extensions().get::<NoToken>().is_some() {
            return Verdict::Pass;
        }
        let uri = request.uri();
        // The selection comes first: an `Authorization` of its own takes no request past the origins it may go to.
        let selected = match is_of_a_tunnel(uri) {
            true => None,
            false => select.select(&RequestHead::from(request)),
        };
        let Some(key) = selected else {
            return match self.denies_unselected {
                true => Verdict::Deny(Error::unselected(&origin_of(uri))),
                false => Verdict::Pass,
            };
        };
        // Among as few headers as requests have, this is faster than a lookup.
        let mut names = request.headers().keys();
        if names.any(|name| name == AUTHORIZATION) {
            match self.existing {
                ExistingAuthorization::Keep => return Verdict::Pass,
                ExistingAuthorization::Replace => {}
                ExistingAuthorization::Deny => {
                    return Verdict::Deny(Error::authorized_already());
                }
            }
        }
        if !self.allows_plain_http && is_in_the_clear(uri) {
            return Verdict::Deny(Error::in_the_clear(&origin_of(uri)));
        }
        Verdict::Token(key)
    }
}

/// Whether it names a host and a port and nothing else, as a CONNECT to a proxy does ([RFC 9112 §3.2.3]): the token is the
/// API's, and not the proxy's.
///
/// [RFC 9112 §3.2.3]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.3
fn is_of_a_tunnel(uri: &Uri) -> bool {
    uri.scheme().is_none() && uri.authority().is_some()
}

/// Whether a token that is sent there can be read on its way ([RFC 6750 §5.3]): by any scheme that is not known to be safe, in
/// any case of letters. A URI without a scheme does not say: whoever made the connection that it is sent on has decided.
///
/// [RFC 6750 §5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
fn is_in_the_clear(uri: &Uri) -> bool {
    let Some(scheme) = uri.scheme_str() else {
        return false;
    };
    let is_safe = SAFE.iter().any(|safe| scheme.eq_ignore_ascii_case(safe));
    !is_safe && !uri.host().is_some_and(is_loopback)
}

const SAFE: [&str; 2] = ["https", "wss"];

/// As errors show it: without what may be a password, and without path and query.
fn origin_of(uri: &Uri) -> String {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return "no origin of its own".to_owned();
    };
    let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host_and_port}")
}
