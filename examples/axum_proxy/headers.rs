//! Which headers go on to the next hop ([RFC 9110 section 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        AUTHORIZATION, CONNECTION, COOKIE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE, VIA,
    },
};

/// Turns the headers of a caller's request into those of the request to the upstream.
///
/// It removes the caller's `Authorization`. The layer does not touch a request that has one. So a header that a caller still
/// sends from the time before the proxy would replace the token, and show the upstream a credential for another server.
pub(super) fn for_upstream(headers: &mut HeaderMap, received: Version) {
    let takes_trailers = takes_trailers(headers);
    remove_what_is_for_one_hop(headers);
    headers.remove(AUTHORIZATION);
    // The client adds the upstream's.
    headers.remove(HOST);
    if takes_trailers {
        // Trailers pass through. An HTTP/1.1 server sends them only to clients that announce that they accept them.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if received == Version::HTTP_2 {
        join_cookies(headers);
    }
    headers.append(VIA, via(received));
}

/// Turns the headers of the upstream's answer into those of the answer to the caller.
pub(super) fn for_caller(headers: &mut HeaderMap) {
    remove_what_is_for_one_hop(headers);
}

/// `Trailer` is not among them: it goes with the trailers, which are passed on.
fn remove_what_is_for_one_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = members(headers, CONNECTION)
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in FOR_ONE_HOP {
        headers.remove(name);
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    members(headers, TE).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// The members of a header that is a list.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// HTTP/2 may send a cookie in pieces, HTTP/1.1 may not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

/// Section 7.6.3.
fn via(received: Version) -> HeaderValue {
    HeaderValue::from_static(match received {
        Version::HTTP_2 => "2 axum_proxy",
        Version::HTTP_10 => "1.0 axum_proxy",
        _ => "1.1 axum_proxy",
    })
}

const FOR_ONE_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
