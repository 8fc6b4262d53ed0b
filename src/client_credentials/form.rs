//! The form of a token request: what the `oauth2` crate wrote, with what it knows nothing of.

use url::form_urlencoded::byte_serialize;

use crate::util::wiped::Wiped;

/// A form of the `oauth2` crate, with this `grant_type` and these pairs after the others. It is written once: a form that grows
/// would leave a copy of a secret behind.
pub(crate) fn with<'a>(
    form: &[u8],
    grant_type: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let rest = form.strip_prefix(CLIENT_CREDENTIALS).unwrap_or(form);
    let grant_type = encode(grant_type);
    let encoded: Vec<_> = pairs.map(|(name, value)| (name, encode(value))).collect();
    let mut parts = vec![b"grant_type=", grant_type.as_bytes(), rest];
    for (name, value) in &encoded {
        parts.extend([b"&", name.as_bytes(), b"=", value.as_bytes()]);
    }
    parts.concat()
}

/// Form-encoded.
pub(crate) fn encode(text: &str) -> Wiped {
    let parts: Vec<_> = byte_serialize(text.as_bytes()).collect();
    Wiped::concat(&parts)
}

/// The `oauth2` crate begins its forms for this grant with it.
const CLIENT_CREDENTIALS: &[u8] = b"grant_type=client_credentials";
