//! Checks of a builder's values, so that a mistake fails the build and not the first request.

use url::Url;

use crate::{
    client_credentials::auth::secret::BYTE_ORDER_MARK, error::Error, util::loopback::is_loopback,
};

/// Where plain http is allowed.
#[derive(Clone, Copy, Default)]
pub(crate) enum PlainHttp {
    #[default]
    OnLoopback,
    Anywhere,
}

pub(crate) fn token_url(text: &str, plain_http: PlainHttp) -> Result<Url, Error> {
    let example = "https://auth.example.com/oauth2/token";
    let url = server_url("token URL", example, text, plain_http)?;
    if url.fragment().is_some() {
        return Err(Error::configuration(
            "the token URL has a fragment (#…), which RFC 6749 section 3.2 does not allow; remove it",
        ));
    }
    Ok(url)
}

pub(crate) fn issuer(text: &str, plain_http: PlainHttp) -> Result<Url, Error> {
    let url = server_url("issuer", "https://auth.example.com", text, plain_http)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::configuration(
            "the issuer has a query or a fragment, which RFC 8414 section 2 does not allow; remove it",
        ));
    }
    Ok(url)
}

/// The messages do not contain the URL, because it may contain a secret.
fn server_url(what: &str, example: &str, text: &str, plain_http: PlainHttp) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|error| {
        Error::configuration(format!(
            "the {what} does not parse ({error}); it must be absolute, as in {example}"
        ))
    })?;
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => match plain_http {
            PlainHttp::OnLoopback => url.host_str().is_some_and(is_loopback),
            PlainHttp::Anywhere => true,
        },
        _ => false,
    };
    if !is_allowed {
        return Err(Error::configuration(format!(
            "the {what} is not https, so the client secret would be sent unencrypted; use https or a loopback host, or opt \
             out with `danger_allow_secret_over_plain_http`"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::configuration(format!(
            "the {what} has credentials in it; give them as client id and secret instead"
        )));
    }
    Ok(url)
}

pub(crate) fn client_id(client_id: &str) -> Result<(), Error> {
    if client_id.trim().is_empty() {
        return Err(Error::configuration(
            "the client id is empty or blank; check that the variable it comes from is set",
        ));
    }
    if client_id.trim() != client_id || client_id.starts_with(BYTE_ORDER_MARK) {
        return Err(Error::configuration(
            "the client id begins or ends with white space, a line end or a byte order mark, as text from a file may; remove it",
        ));
    }
    Ok(())
}

pub(crate) fn scope(scope: &str) -> Result<(), Error> {
    if !is_scope_token(scope) {
        return Err(Error::configuration(format!(
            "the scope {scope:?} is empty or has a space, a quote, a backslash or a character that is not visible \
             ASCII (RFC 6749 section 3.3); add each scope separately"
        )));
    }
    Ok(())
}

/// `id_in_header`: whether the client id is in a header, so that it may be in the form too. `of_grant`: what the grant sets.
pub(crate) fn param(
    name: &str,
    value: &str,
    id_in_header: bool,
    of_grant: &[&str],
) -> Result<(), Error> {
    if name == CLIENT_ID && id_in_header {
        return Ok(());
    }
    if name.is_empty() || OWN_PARAMS.contains(&name) || of_grant.contains(&name) {
        return Err(Error::configuration(format!(
            "the parameter {name:?} is empty or one that this crate sets itself; use the builder's own methods for \
             grant type, client id, secret and scopes, and the grant for what is its own. `client_id` can be added only beside `ClientAuth::basic` and `ClientAuth::basic_raw`"
        )));
    }
    if name == AUDIENCE && value.is_empty() {
        return Err(Error::configuration(
            "an audience is empty; check that the variable it comes from is set",
        ));
    }
    Ok(())
}

pub(crate) fn resource(resource: &str) -> Result<(), Error> {
    let has_no_fragment = |url: Url| url.fragment().is_none();
    // The parser forgives white space, but the text is what is sent.
    if resource.contains(char::is_whitespace) || !Url::parse(resource).is_ok_and(has_no_fragment) {
        return Err(Error::configuration(format!(
            "the resource {resource:?} is not an absolute URI without a fragment (RFC 8707 section 2); use a URI such as \
             https://api.example.com/orders, or, for a server that wants other text, `param(\"resource\", ..)`"
        )));
    }
    Ok(())
}

/// Claims that those of a challenge are merged into.
pub(crate) fn claims(claims: &str) -> Result<(), Error> {
    let object: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_str(claims);
    match object {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::configuration(
            "the parameter \"claims\" is not a JSON object, so the claims of a challenge cannot be added to it; correct it, or do \
             without `answer_claims_challenges`",
        )),
    }
}

/// A member of an answer that is to be kept.
pub(crate) fn member(name: &str) -> Result<(), Error> {
    if name.is_empty() || name == ACCESS_TOKEN {
        return Err(Error::configuration(format!(
            "the member {name:?} cannot be kept: it is empty, or the access token, which `Token::expose_secret` returns; \
             remove it"
        )));
    }
    Ok(())
}

/// `scope-token` of RFC 6749 §3.3.
fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

const ACCESS_TOKEN: &str = "access_token";
pub(crate) const CLIENT_ID: &str = "client_id";
pub(crate) const AUDIENCE: &str = "audience";
pub(crate) const RESOURCE: &str = "resource";
/// The claims that a token should have ([OpenID Connect Core §5.5]).
///
/// [OpenID Connect Core §5.5]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
pub(crate) const CLAIMS: &str = "claims";

const OWN_PARAMS: [&str; 6] = [
    "grant_type",
    CLIENT_ID,
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
];
