//! Recognizes loopback hosts.

use std::net::IpAddr;

/// Whether a URI's host is loopback: `localhost` or a loopback address. Requests to it cross no network.
///
/// It compares text and asks no resolver: a name may resolve to another address by the time of the connection. The resolver
/// must map `localhost` to loopback ([RFC 6761 §6.3]).
///
/// [RFC 6761 §6.3]: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
pub(crate) fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = v6.unwrap_or(host).parse::<IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_or_the_one_name_and_nothing_that_looks_like_it() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.255.0.9",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.",
            "localhost.evil.test",
            "api.localhost",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "127.0.0.1.evil.test",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::1",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
