//! What URLs say: where servers are, and how to log in there.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError};

use crate::{client_credentials::Secret, error::Error};

/// The only server of a URL.
pub(super) fn one(url: Secret) -> Result<ConnectionInfo, Error> {
    let mut servers = all(url)?;
    match servers.pop() {
        Some(server) if servers.is_empty() => Ok(server),
        _ => Err(Error::configuration(
            "the URL of Redis names several servers; give one, or use `redis_cluster` if they are a cluster",
        )),
    }
}

/// The servers of a URL, whose hosts are separated by commas.
pub(super) fn all(url: Secret) -> Result<Vec<ConnectionInfo>, Error> {
    let url = url.peek("URL of Redis")?;
    let url = url.ok_or_else(|| {
        Error::configuration("the URL of Redis comes from a provider, which is not supported; give text, a file or a variable")
    })?;
    let url = url.trim();
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        check_tls()?;
    }
    let (before, hosts, after) = hosts(url);
    hosts
        .split(',')
        .map(|host| {
            let url = zeroize::Zeroizing::new([before, host, after].concat());
            url.as_str().into_connection_info().map_err(invalid)
        })
        .collect()
}

/// What is before the hosts, the hosts, and what is after them.
fn hosts(url: &str) -> (&str, &str, &str) {
    let Some(start) = url.find("://") else {
        return ("", url, "");
    };
    let authority = &url[start + 3..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let end = start + 3 + authority.len();
    let start = end - hosts.len();
    (&url[..start], &url[start..end], &url[end..])
}

/// The redis crate's own error may quote the URL, with the password.
pub(super) fn invalid(_: RedisError) -> Error {
    Error::configuration(
        "the URL of Redis is not valid; it must be as in rediss://user:password@redis.example.com:6379/0",
    )
}

/// The redis crate leaves the choice of a provider to rustls, which panics if a program has two and has installed neither.
#[cfg(feature = "rustls-no-provider")]
fn check_tls() -> Result<(), Error> {
    match rustls::crypto::CryptoProvider::get_default() {
        Some(_) => Ok(()),
        None => Err(Error::configuration(
            "TLS to Redis has no provider of cryptography; install one at the start of the program with rustls' \
             `CryptoProvider::install_default`",
        )),
    }
}

#[cfg(not(feature = "rustls-no-provider"))]
fn check_tls() -> Result<(), Error> {
    Err(Error::configuration(
        "the URL of Redis is `rediss://`, which needs TLS; switch on a feature `rustls…` of tower-bearer",
    ))
}

/// The same login at another address.
pub(super) fn moved_to(login: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let (host, login) = (host.to_owned(), login.clone());
    let address = match login.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    login.set_addr(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_have_several_hosts() {
        for (url, expected) in [
            ("redis://a", vec!["a:6379"]),
            ("redis://u:p,w@a:1,b:2/3?x=a@b,c", vec!["a:1", "b:2"]),
            ("redis://[::1]:1,b", vec!["::1:1", "b:6379"]),
            (
                "redis://:p@a,My_Master.1",
                vec!["a:6379", "My_Master.1:6379"],
            ),
        ] {
            let servers = all(url.into()).unwrap();
            let addresses = servers.iter().map(|server| server.addr().to_string());
            assert_eq!(addresses.collect::<Vec<_>>(), expected, "{url}");
        }
        let servers = all("redis://u:p,w@a:1,b:2/3".into()).unwrap();
        for server in servers {
            let login = server.redis_settings();
            assert_eq!(login.password(), Some("p,w"));
            assert_eq!(login.db(), 3);
        }
    }

    #[test]
    fn a_url_that_is_none_is_told_without_the_password() {
        for url in [
            "a",
            "redis://",
            "redis://u:hunter2@",
            "redis://u:hunter2@a:b",
            "redis://u:hunter2@a,",
            "http://u:hunter2@a",
        ] {
            let error = all(url.into()).unwrap_err().to_string();
            assert!(
                error.contains("is not valid") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let error = one("redis://u:hunter2@a,b".into()).unwrap_err().to_string();
        assert!(
            error.contains("redis_cluster") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
