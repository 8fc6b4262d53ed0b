//! A token request by way of a forward proxy, over real sockets.

#![cfg(all(feature = "proxy", feature = "reqwest", feature = "rustls"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/site.rs"]
mod site;
#[path = "support/tls.rs"]
mod tls;

use std::sync::{Arc, Mutex};

use reqwest::{Client, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tower_bearer::{ClientCredentials, ErrorKind, TokenCache};

use self::site::{Nobody, Site, soon, text};

const TOKEN: &str = r#"{"access_token":"t1","token_type":"bearer","expires_in":3600}"#;

#[tokio::test]
async fn a_token_request_goes_through_a_forward_proxy_and_back() {
    let endpoint = Site::answering(|_| text(200, TOKEN)).await;
    let (proxy, targets) = forward_to(&endpoint).await;
    let token = soon(cache_by(&proxy).get()).await.unwrap();

    assert_eq!(token.authorization().to_str().unwrap(), "Bearer t1");
    assert_eq!(
        *targets.lock().unwrap(),
        ["POST http://auth.test/token HTTP/1.1"]
    );
    let [post] = &endpoint.seen()[..] else {
        panic!("one token request comes through");
    };
    assert_eq!(post.headers["host"], "auth.test");
    let form = String::from_utf8(post.body.to_vec()).unwrap();
    assert!(form.contains("grant_type=client_credentials"), "{form}");
}

#[tokio::test]
async fn a_proxy_that_is_down_is_an_outage() {
    let proxy = Nobody::new();
    let error = soon(cache_by(&proxy.origin()).get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_transient());
}

fn cache_by(proxy: &str) -> TokenCache {
    let client = Client::builder().proxy(Proxy::all(proxy).unwrap());
    let source = ClientCredentials::builder("http://auth.test/token", "id", "the-secret")
        .danger_allow_secret_over_plain_http()
        .build_with_reqwest(client)
        .unwrap();
    TokenCache::new(source)
}

/// A proxy that takes every host for this one, and the first line of what came over each connection.
async fn forward_to(site: &Site) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let target = site.origin.strip_prefix("http://").unwrap().to_owned();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(client.read_u8().await.unwrap());
            }
            let text = String::from_utf8(line.clone()).unwrap();
            seen.lock().unwrap().push(text.trim_end().to_owned());
            let mut server = TcpStream::connect(&target).await.unwrap();
            server.write_all(&line).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (origin, lines)
}

mod default_transport {
    //! The default transport through a proxy that answers CONNECT.

    use tokio::io::{AsyncBufReadExt, BufReader};
    use tower_bearer::client_credentials::ClientCredentialsBuilder;

    use super::*;

    /// A proxy that takes every host for one server, and what each connection asked of it.
    struct Tunnels {
        url: String,
        heads: Arc<Mutex<Vec<String>>>,
    }

    impl Tunnels {
        /// To the server of this origin; without one it denies.
        async fn to(origin: &str, answer: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let port = origin.rsplit_once(':').unwrap().1;
            let target = format!("127.0.0.1:{port}");
            let heads = Arc::<Mutex<Vec<String>>>::default();
            let seen = Arc::clone(&heads);
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let mut client = BufReader::new(client);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        client.read_line(&mut head).await.unwrap();
                    }
                    seen.lock().unwrap().push(head);
                    let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
                    client.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains(" 200 ") {
                        let mut server = TcpStream::connect(&target).await.unwrap();
                        tokio::spawn(
                            async move { copy_bidirectional(&mut client, &mut server).await },
                        );
                    }
                }
            });
            Self { url, heads }
        }

        /// The first line of each connection.
        fn asked(&self) -> Vec<String> {
            let heads = self.heads.lock().unwrap();
            let first = |head: &String| head.lines().next().unwrap().to_owned();
            heads.iter().map(first).collect()
        }
    }

    const OPEN: &str = "200 Connection established";

    fn plain(url: &str) -> ClientCredentialsBuilder {
        ClientCredentials::builder(url, "id", "the-secret").danger_allow_secret_over_plain_http()
    }

    async fn token_request(client: ClientCredentialsBuilder) -> Result<(), tower_bearer::Error> {
        soon(TokenCache::new(client.build().unwrap()).get())
            .await
            .map(drop)
    }

    /// Promise: E8
    #[tokio::test]
    async fn a_token_request_goes_through_a_tunnel_and_its_proxy_sees_no_secret() {
        let server = tls::Server::shows("server-elsewhere").await;
        let proxy = Tunnels::to(&server.origin, OPEN).await;
        let url = "https://elsewhere.test/token";
        let client = ClientCredentials::builder(url, "id", "the-secret")
            .root_certificates(tls::pem("server-ca.crt"))
            .proxy(&*proxy.url);
        token_request(client).await.unwrap();

        assert_eq!(proxy.asked(), ["CONNECT elsewhere.test:443 HTTP/1.1"]);
        let [post] = &server.seen()[..] else {
            panic!("one token request");
        };
        assert!(post.request.contains("the-secret"), "{}", post.request);
        let head = proxy.heads.lock().unwrap().concat();
        assert!(!head.contains("the-secret"), "{head}");
    }

    /// Promise: E8
    #[tokio::test]
    async fn plain_http_goes_through_a_tunnel_as_well_to_its_own_port() {
        let site = Site::answering(|_| text(200, TOKEN)).await;
        let proxy = Tunnels::to(&site.origin, OPEN).await;
        for url in ["http://auth.test/token", "http://auth.test:8080/token"] {
            token_request(plain(url).proxy(&*proxy.url)).await.unwrap();
        }
        assert_eq!(
            proxy.asked(),
            [
                "CONNECT auth.test:80 HTTP/1.1",
                "CONNECT auth.test:8080 HTTP/1.1"
            ]
        );
        assert_eq!(site.seen().len(), 2);
    }

    #[tokio::test]
    async fn a_proxy_is_told_its_user_and_password_and_nobody_else_is() {
        let site = Site::answering(|_| text(200, TOKEN)).await;
        let proxy = Tunnels::to(&site.origin, OPEN).await;
        let with_password = proxy.url.replace("//", "//user:hidden-word@");
        let client = plain("http://auth.test/token").proxy(with_password);
        assert!(!format!("{client:?}").contains("hidden-word"));
        token_request(client).await.unwrap();
        let head = proxy.heads.lock().unwrap().concat();
        // The base64 of both.
        let header = "Proxy-Authorization: Basic dXNlcjpoaWRkZW4td29yZA==";
        assert!(head.contains(header), "{head}");
        assert!(!site.seen()[0].headers.contains_key("proxy-authorization"));

        let denying = Tunnels::to(&site.origin, "407 Proxy Authentication Required").await;
        let with_password = denying.url.replace("//", "//user:hidden-word@");
        let client = plain("http://auth.test/token").proxy(with_password);
        let error = token_request(client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let told = format!("{error}");
        let authority = denying.url.strip_prefix("http://").unwrap();
        let part = format!("the proxy {authority} opens no tunnel to it");
        assert!(told.contains(&part), "{told}");
        assert!(told.contains("proxy authorization required"), "{told}");
        assert!(!tls::chain(&error).concat().contains("hidden-word"));
    }

    /// Promise: E8
    #[tokio::test]
    async fn loopback_is_reached_without_a_proxy() {
        let site = Site::answering(|_| text(200, TOKEN)).await;
        let proxy = Tunnels::to(&site.origin, OPEN).await;
        let url = format!("{}/token", site.origin);
        token_request(plain(&url).proxy(&*proxy.url)).await.unwrap();
        assert_eq!(proxy.asked(), [""; 0]);
        assert_eq!(site.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_proxy_of_another_kind_or_for_another_transport_is_an_error() {
        for url in [
            "",
            " ",
            "socks5://proxy.test:1080",
            "https://proxy.test",
            "a b",
        ] {
            let error = plain("http://auth.test/token")
                .proxy(url)
                .build()
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let part = "is not the URL of an HTTP proxy";
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
        let client = plain("http://auth.test/token").proxy("http://proxy.test:3128");
        let error = client.build_with_reqwest(Client::builder()).unwrap_err();
        assert!(error.to_string().contains("has a proxy"), "{error}");
    }

    /// Promise: E8
    #[tokio::test]
    async fn the_environment_names_the_proxy_and_the_hosts_without_one_if_it_is_asked() {
        let site = Site::answering(|_| text(200, TOKEN)).await;
        let proxy = Tunnels::to(&site.origin, OPEN).await;
        let (url, origin) = (proxy.url.clone(), site.origin.clone());
        tokio::task::spawn_blocking(move || {
            alone::run("environment::", 1, |test| {
                for name in ["ALL_PROXY", "HTTPS_PROXY", "https_proxy", "NO_PROXY"] {
                    test.env_remove(name);
                }
                test.env("http_proxy", &url)
                    .env("HTTPS_PROXY", "socks5://proxy.test:1080")
                    .env("no_proxy", "direct.test, .internal")
                    .env("SITE", &origin);
            });
        })
        .await
        .unwrap();
        assert_eq!(proxy.asked(), ["CONNECT auth.test:80 HTTP/1.1"]);
        // That and the one on loopback.
        assert_eq!(site.seen().len(), 2);
    }

    mod environment {
        use super::*;

        #[tokio::test]
        #[ignore = "run by the_environment_names_the_proxy_and_the_hosts_without_one_if_it_is_asked"]
        async fn what_a_program_does_in_it() {
            let by_environment = |url: &str| plain(url).proxy_from_environment();
            let through = by_environment("http://auth.test/token");
            token_request(through).await.unwrap();
            let on_loopback = format!("{}/token", std::env::var("SITE").unwrap());
            token_request(by_environment(&on_loopback)).await.unwrap();

            // Directly, to hosts that are not there; and so without being asked.
            for client in [
                by_environment("http://direct.test/token"),
                by_environment("http://auth.internal/token"),
                plain("http://auth.test/token"),
            ] {
                let error = token_request(client).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(!error.to_string().contains("proxy"), "{error}");
            }

            let socks = by_environment("https://auth.test/token").build();
            let error = socks.unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY is not the URL"), "{error}");
        }
    }
}
