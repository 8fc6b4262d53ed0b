//! The identity under which a token is stored.

use std::fmt;

use ring::digest::{Context, SHA256};

use crate::{client_credentials::ClientCredentials, error::Error, token::Token};

/// Whose tokens are shared: processes share a token if their identities are equal.
///
/// The identity of [`ClientCredentials`] covers everything that decides which token the server gives: the endpoint, the client id,
/// how and by which secret the client authenticates, scopes, audiences, resources and other parameters. So a client with another
/// secret shares nothing, and a rotated secret begins anew.
///
/// An assertion of a third party that is a JWT counts by its issuer and its subject, not by its bytes: each pod of a Kubernetes
/// deployment has its own, and they are the same service account. The certificate of your own transport does not count; add it with
/// [`and`](Self::and).
///
/// A source of your own has no identity that this crate can know. Name it: [`named`](Self::named).
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, shared::Identity};
///
/// # fn example(credentials: &ClientCredentials) {
/// let of_the_credentials = Identity::from(credentials);
/// let with_a_certificate = Identity::from(credentials).and("certificate of 2026-11");
/// # let _ = (of_the_credentials, with_a_certificate);
/// # }
/// let of_my_source = Identity::named("vault.example.com").and("role billing");
/// # let _ = of_my_source;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Identity {
    credentials: Option<ClientCredentials>,
    names: Vec<String>,
}

impl Identity {
    /// The identity of a source by a name of your own. Include all that decides which token it gives.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            credentials: None,
            names: vec![name.into()],
        }
    }

    /// Adds a part: identities that differ in it share nothing.
    pub fn and(mut self, part: impl Into<String>) -> Self {
        self.names.push(part.into());
        self
    }

    /// Gives a token out of a store what belongs to it here.
    pub(super) fn equip(&self, token: Token) -> Token {
        match &self.credentials {
            Some(credentials) => credentials.equip(token),
            None => token,
        }
    }

    /// Reads the secret and hashes it with the rest.
    pub(super) async fn digest(&self) -> Result<Digest, Error> {
        let mut hash = Context::new(&SHA256);
        // With lengths, so that no two lists of parts are the same bytes.
        let mut add = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), value] {
                hash.update(&(part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        };
        if let Some(credentials) = &self.credentials {
            credentials.identify(&mut add).await?;
        }
        for name in &self.names {
            add("name", name.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Digest(digest))
    }
}

impl From<&ClientCredentials> for Identity {
    fn from(credentials: &ClientCredentials) -> Self {
        Self {
            credentials: Some(credentials.clone()),
            names: Vec::new(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("credentials", &self.credentials)
            .field("names", &self.names)
            .finish()
    }
}

/// The hash of an identity. It is never stored or shown: a secret that is easy to guess could be guessed from it.
#[derive(Clone, PartialEq)]
pub(super) struct Digest(pub(super) [u8; 32]);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use tower::service_fn;

    use super::*;
    use crate::client_credentials::{ClientAuth, ClientCredentialsBuilder, Secret};

    const URL: &str = "https://auth.example.com/token";

    fn client(auth: impl Into<ClientAuth>) -> ClientCredentialsBuilder {
        ClientCredentials::builder(URL, "id", auth)
    }

    async fn digest(builder: ClientCredentialsBuilder) -> [u8; 32] {
        let transport = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, std::io::Error>(Response::new(String::new()))
        });
        let credentials = builder.build_with(transport).unwrap();
        Identity::from(&credentials).digest().await.unwrap().0
    }

    fn jwt(claims: &str) -> String {
        format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    /// Promise: D8
    #[tokio::test]
    async fn whatever_decides_which_token_is_given_is_part_of_the_identity() {
        let builders = [
            ("plain", client("secret")),
            ("secret", client("another")),
            ("post", client(ClientAuth::post("secret"))),
            ("basic", client(ClientAuth::basic("secret"))),
            ("raw", client(ClientAuth::basic_raw("secret"))),
            ("none", client(ClientAuth::none())),
            ("tls", client(ClientAuth::tls())),
            ("assertion", client(ClientAuth::assertion("secret"))),
            (
                "subject",
                client(ClientAuth::assertion(jwt(r#"{"iss":"k","sub":"a"}"#))),
            ),
            (
                "other subject",
                client(ClientAuth::assertion(jwt(r#"{"iss":"k","sub":"b"}"#))),
            ),
            (
                "url",
                ClientCredentials::builder("https://b.example.com/token", "id", "secret"),
            ),
            (
                "query",
                ClientCredentials::builder(format!("{URL}?t=1"), "id", "secret"),
            ),
            ("issuer", ClientCredentials::discover(URL, "id", "secret")),
            ("client", ClientCredentials::builder(URL, "id2", "secret")),
            ("grant", client("secret").grant_type("account_credentials")),
            ("scope", client("secret").scope("a")),
            ("scopes", client("secret").scopes(["a", "b"])),
            ("joined", client("secret").scope("ab")),
            ("all", client("secret").scope("a").require_all_scopes()),
            ("audience", client("secret").audience("https://a")),
            ("resource", client("secret").resource("https://a")),
            (
                "resources",
                client("secret").resource("https://a").resource("https://b"),
            ),
            ("param", client("secret").param("tenant", "a")),
            ("value", client("secret").param("tenant", "b")),
            ("keep", client("secret").keep(["instance_url"])),
            ("header", client("secret").header("x-tenant", "a")),
        ];
        let mut seen = HashMap::new();
        for (what, builder) in builders {
            if let Some(same) = seen.insert(digest(builder).await, what) {
                panic!("{what} is the same as {same}");
            }
        }
    }

    /// Promise: D8
    #[tokio::test]
    async fn what_a_grant_shows_and_asks_for_is_part_of_the_identity() {
        use crate::client_credentials::{Grant, TokenExchange, TokenType};

        let of = |subject: &str| TokenExchange::new(subject, TokenType::Jwt);
        let exchange = |subject: &str| client("s").grant(of(subject));
        let one = jwt(r#"{"iss":"k","sub":"a"}"#);
        let builders = [
            client("s"),
            exchange("t"),
            exchange("u"),
            exchange(&one),
            exchange(&jwt(r#"{"iss":"k","sub":"b"}"#)),
            client("s").grant(TokenExchange::new("t", TokenType::AccessToken)),
            client("s").grant(of("t").with_requested_type(TokenType::Jwt)),
            client("s").grant(of("t").with_actor("a", TokenType::Jwt)),
            client("s").grant(of("t").with_actor("b", TokenType::Jwt)),
            client("s").grant(of("t").with_actor("b", TokenType::IdToken)),
            client("s").grant(Grant::jwt_bearer("t")),
            client("s").grant(Grant::jwt_bearer(one.clone())),
            ClientCredentials::without_client(URL).grant(of("t")),
        ];
        let mut seen = Vec::new();
        for builder in builders {
            let digest = digest(builder).await;
            assert!(!seen.contains(&digest));
            seen.push(digest);
        }
        // Each pod has a token of its own.
        let another = jwt(r#"{"iss":"k","sub":"a","jti":"2"}"#);
        assert!(seen.contains(&digest(exchange(&another)).await));
    }

    /// Promise: D8
    #[cfg(feature = "jwt")]
    #[tokio::test]
    async fn a_key_and_what_it_signs_are_part_of_the_identity() {
        use crate::client_credentials::{
            Assertion, JwtBearer, SigningAlgorithm::Hs256, SigningKey,
        };

        let key = |secret: &str| SigningKey::from_secret(Hs256, secret);
        let signed = |secret: &str| Assertion::signed_by(key(secret));
        let granted = |secret: &str| JwtBearer::signed_by(key(secret), "i");
        let (one, other) = (
            "a-secret-of-32-bytes-or-more-aaaa",
            "b-secret-of-32-bytes-or-more-bbbb",
        );
        let builders = [
            client(signed(one)),
            client(signed(other)),
            client(signed(one).with_audience("https://a")),
            client(signed(one).with_typ("t")),
            client(signed(one).with_claim("tenant", "a")),
            client(signed(one).with_claim("tenant", "b")),
            client(Assertion::signed_by(key(one).with_key_id("k"))),
            client("s").grant(granted(one)),
            client("s").grant(granted(other)),
            client("s").grant(JwtBearer::signed_by(key(one), "j").with_subject("i")),
            client("s").grant(granted(one).with_subject("u")),
            client("s").grant(granted(one).without_subject()),
            client("s").grant(granted(one).with_audience("https://a")),
            client("s").grant(granted(one).with_typ("t")),
            client("s").grant(granted(one).with_scopes_as_claim()),
            client("s").grant(granted(one).with_claim("tenant", "a")),
        ];
        let mut seen = Vec::new();
        for builder in builders {
            let digest = digest(builder).await;
            assert!(!seen.contains(&digest));
            seen.push(digest);
        }
    }

    #[cfg(feature = "dpop")]
    #[tokio::test]
    async fn a_bound_token_is_for_those_who_have_its_key() {
        use crate::dpop::DpopKey;

        let key = |jwk| DpopKey::from_jwk(jwk).unwrap();
        let one = key(include_str!("../../tests/keys/p256.jwk.json"));
        let other = key(include_str!("../../tests/keys/p384.jwk.json"));
        let digests = [
            digest(client("s")).await,
            digest(client("s").dpop(one.clone())).await,
            digest(client("s").dpop(other)).await,
            digest(client("s").dpop(one.clone()).accept_bearer_tokens()).await,
        ];
        for (at, one) in digests.iter().enumerate() {
            assert!(!digests[..at].contains(one), "{at}");
        }
        assert_eq!(digest(client("s").dpop(one)).await, digests[1]);

        let alone = client("s").dpop(DpopKey::generate().unwrap());
        let transport = service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, std::io::Error>(Response::new(String::new()))
        });
        let credentials = alone.build_with(transport).unwrap();
        let error = Identity::from(&credentials).digest().await.err().unwrap();
        assert!(error.to_string().contains("DpopKey::from_pem"), "{error}");
    }

    #[tokio::test]
    async fn what_decides_nothing_is_no_part_of_the_identity() {
        let same = [
            [
                client("s").scopes(["a", "b"]),
                client("s").scopes(["b", "a"]),
            ],
            [
                client("s"),
                client(Secret::from_provider(async || Ok::<_, Error>("s"))),
            ],
            [client("s"), client("s").user_agent("mine/1")],
            // Each pod has an assertion of its own.
            [
                r#"{"iss":"k","sub":"a","jti":"1"}"#,
                r#"{"iss":"k","sub":"a","jti":"2"}"#,
            ]
            .map(|claims| client(ClientAuth::assertion(jwt(claims)))),
        ];
        for [one, other] in same {
            assert_eq!(digest(one).await, digest(other).await);
        }
    }

    #[tokio::test]
    async fn names_are_told_apart() {
        let of = async |identity: Identity| identity.digest().await.unwrap().0;
        let one = of(Identity::named("a").and("b")).await;
        assert_ne!(one, of(Identity::named("ab")).await);
        assert_ne!(one, of(Identity::named("b").and("a")).await);
        assert_eq!(one, of(Identity::named("a").and("b")).await);
    }
}
