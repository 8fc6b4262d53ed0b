//! Secrets are gone from memory when nobody holds them any more: a process reads its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/alone.rs"]
mod alone;
#[path = "support/endpoint.rs"]
mod endpoint;
#[path = "support/memory.rs"]
mod memory;

use std::{
    env, fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use endpoint::token_request;
use http::{Request, Response};
use http_body_util::Full;
use memory::{Planted, alone};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    ClientAuth, ClientCredentials, Secret,
    client_credentials::{ClientCredentialsBuilder, SigningAlgorithm, SigningKey},
    config::Configuration,
};
use zeroize::Zeroizing;

type Way = fn(Secret) -> ClientAuth;

/// Each way to send or to use a text.
const WAYS: [(&str, Way); 6] = [
    ("open", |secret| secret.into()),
    ("post", |secret| ClientAuth::post(secret)),
    ("basic", |secret| ClientAuth::basic(secret)),
    ("basic_raw", |secret| ClientAuth::basic_raw(secret)),
    ("secret_jwt", |secret| ClientAuth::secret_jwt(secret)),
    ("assertion", |secret| ClientAuth::assertion(secret)),
];

/// Promise: S5
#[test]
fn a_secret_that_is_text_goes_with_the_last_credential_that_has_it() {
    alone(async {
        for (way, auth) in WAYS {
            let planted = Planted::new();
            assert_eq!(planted.copies(), 0, "{way}");
            let builder = client(auth(planted.text().into()));
            let credentials = builder.clone().build_with(server(200, &planted).0).unwrap();
            assert!(planted.copies() >= 2, "{way}");
            drop(builder);
            assert!(planted.copies() >= 1, "{way}");
            drop(credentials);
            assert_eq!(planted.copies(), 0, "{way}");
        }
    });
}

/// While it is under way there are copies, of which the request is one, and of a secret that goes by Basic in base64.
///
/// Promise: S5
#[test]
fn a_token_request_leaves_no_copy_of_a_secret_behind() {
    alone(async {
        for (way, auth) in WAYS {
            for status in [200, 401] {
                let planted = Planted::new();
                let (server, meanwhile) = server(status, &planted);
                let credentials = client(auth(planted.text().into())).build_with(server);
                let _ = token_request(credentials.unwrap()).await;
                assert!(meanwhile.load(Ordering::SeqCst) >= 2, "{way}");
                assert_eq!(planted.copies(), 0, "{way}, {status}");
            }
        }
    });
}

/// Promise: S5
#[test]
fn a_token_request_that_is_cut_off_leaves_no_copy_of_a_secret_behind() {
    alone(async {
        for (way, auth) in WAYS {
            let planted = Planted::new();
            let hanging = service_fn(|request: Request<Full<Bytes>>| async move {
                std::future::pending::<()>().await;
                drop(request);
                Ok::<_, io::Error>(Response::new(Full::<Bytes>::default()))
            });
            let credentials = client(auth(planted.text().into())).build_with(hanging);
            let mut token_request = tokio_test::task::spawn(token_request(credentials.unwrap()));
            assert!(token_request.poll().is_pending());
            tokio::task::yield_now().await;
            assert!(planted.copies() >= 2, "{way}");
            drop(token_request);
            // The token request goes on without its caller until its deadline.
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(planted.copies(), 0, "{way}");
        }
    });
}

/// Promise: S5
#[test]
fn a_secret_in_a_file_is_in_memory_during_a_token_request_alone() {
    alone(async {
        for (way, auth) in WAYS {
            let planted = Planted::new();
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("planted");
            fs::write(&file, Zeroizing::new(planted.text())).unwrap();
            let (server, meanwhile) = server(200, &planted);
            let credentials = client(auth(Secret::from_file(&file)))
                .build_with(server)
                .unwrap();
            assert_eq!(planted.copies(), 0, "{way}");
            token_request(credentials.clone()).await.unwrap();
            assert!(meanwhile.load(Ordering::SeqCst) >= 1, "{way}");
            assert_eq!(planted.copies(), 0, "{way}");
            fs::remove_file(file).unwrap();
        }
    });
}

/// Promise: S5
#[test]
fn a_secret_that_is_provided_is_in_memory_during_a_token_request_alone() {
    alone(async {
        for (way, auth) in WAYS {
            let planted = Arc::new(Planted::new());
            let (server, meanwhile) = server(200, &planted);
            let provided = Arc::clone(&planted);
            let secret = Secret::from_provider(move || {
                let provided = Arc::clone(&provided);
                async move { Ok::<_, io::Error>(provided.text()) }
            });
            let credentials = client(auth(secret)).build_with(server).unwrap();
            token_request(credentials.clone()).await.unwrap();
            assert!(meanwhile.load(Ordering::SeqCst) >= 1, "{way}");
            assert_eq!(planted.copies(), 0, "{way}");
        }
    });
}

/// A process keeps its environment itself. It is set for a process of its own.
///
/// Promise: S5
#[test]
fn a_secret_in_the_environment_is_there_alone_when_its_credential_is_gone() {
    let planted = Planted::new();
    alone::run("environment::", 1, |command| {
        command
            .env("PLANTED", planted.text())
            .env("PLANTED_MASKED", planted.masked());
    });
}

mod environment {
    use super::*;

    #[test]
    #[ignore = "run by a_secret_in_the_environment_is_there_alone_when_its_credential_is_gone"]
    fn what_is_read_from_the_environment_goes_with_its_credential() {
        alone(async {
            let planted = Planted::from_masked(&env::var("PLANTED_MASKED").unwrap());
            let before = planted.copies();
            assert_eq!(before, 1, "the environment's own");
            let credentials = client(ClientAuth::post(Secret::from_env("PLANTED")));
            assert!(planted.copies() > before);
            let credentials = credentials.build_with(server(200, &planted).0);
            let _ = token_request(credentials.unwrap()).await;
            assert_eq!(planted.copies(), before);
        });
    }
}

/// Promise: S5
#[test]
fn a_secret_in_a_configuration_goes_with_it() {
    alone(async {
        let planted = Planted::new();
        let secret = Zeroizing::new(planted.text());
        let json = Zeroizing::new(
            [
                r#"{"token_url":"https://auth.test/token","client_id":"id","client_secret":""#,
                &secret,
                r#""}"#,
            ]
            .concat(),
        );
        drop(secret);
        let configuration: Configuration = serde_json::from_str(&json).unwrap();
        drop(json);
        assert_eq!(planted.copies(), 1);
        let (server, _) = server(200, &planted);
        let credentials = configuration.credentials().build_with(server).unwrap();
        token_request(credentials).await.unwrap();
        drop(configuration);
        assert_eq!(planted.copies(), 0);
    });
}

/// Of a configuration that does not do as well.
///
/// Promise: S5
#[test]
fn a_secret_in_a_configuration_that_is_rejected_is_gone() {
    alone(async {
        let planted = Planted::new();
        let secret = Zeroizing::new(planted.text());
        let json = Zeroizing::new([r#"{"client_secret":""#, &secret, r#""}"#].concat());
        drop(secret);
        assert_eq!(planted.copies(), 1);
        serde_json::from_str::<Configuration>(&json).unwrap_err();
        drop(json);
        assert_eq!(planted.copies(), 0);
    });
}

/// Of its numbers ring has copies, and of its base64 the decoder of PEM, which only they could wipe.
///
/// Promise: S5
#[test]
fn the_text_of_a_private_key_is_in_memory_while_it_is_used_alone() {
    use SigningAlgorithm::{EdDsa, Es256, Rs256};
    type Key = fn(Secret) -> SigningKey;
    alone(async {
        let keys: [(&str, Key); 7] = [
            // First, as the decoder of PEM leaves the base64 of a key behind, and these are the same keys.
            ("rsa.jwk.json", SigningKey::from_jwk),
            ("p256.jwk.json", SigningKey::from_jwk),
            ("rsa.pem", |pem| SigningKey::from_pem(Rs256, pem)),
            ("rsa.pkcs1.pem", |pem| SigningKey::from_pem(Rs256, pem)),
            ("p256.pem", |pem| SigningKey::from_pem(Es256, pem)),
            ("p256.sec1.pem", |pem| SigningKey::from_pem(Es256, pem)),
            ("ed25519.pem", |pem| SigningKey::from_pem(EdDsa, pem)),
        ];
        for (name, key) in keys {
            let file = key_file(name);
            let planted = Planted::in_file(&file);
            let (server, meanwhile) = server(200, &planted);
            let auth = ClientAuth::private_key_jwt(key(Secret::from_file(&file)));
            let credentials = client(auth).build_with(server).unwrap();
            assert_eq!(planted.copies(), 0, "{name}");
            token_request(credentials.clone()).await.unwrap();
            assert!(meanwhile.load(Ordering::SeqCst) >= 1, "{name}");
            assert_eq!(planted.copies(), 0, "{name}");
        }
    });
}

/// Promise: S5
#[cfg(feature = "rustls")]
#[test]
fn the_text_of_a_client_certificates_key_goes_with_its_credential() {
    alone(async {
        let file = key_file("client.key");
        let planted = Planted::in_file(&file);
        let build = |key: Secret| {
            client(ClientAuth::tls())
                .client_certificate(Secret::from_file(key_file("client.crt")), key)
                .root_certificates(Secret::from_file(key_file("ca.crt")))
                .build()
                .unwrap()
        };
        let by_file = build(Secret::from_file(&file));
        assert_eq!(planted.copies(), 0);
        let by_text = build(fs::read_to_string(&file).unwrap().into());
        assert!(planted.copies() >= 1);
        drop((by_file, by_text));
        assert_eq!(planted.copies(), 0);
    });
}

fn key_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

/// Of a length after which base64 goes on as if the secret had begun there.
const ID: &str = "id";

fn client(auth: ClientAuth) -> ClientCredentialsBuilder {
    ClientCredentials::builder("https://auth.test/token", ID, auth)
}

type Server = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, io::Error>;

/// A token endpoint that counts the copies there are while it has the request.
fn server(status: u16, planted: &Planted) -> (Server, Arc<AtomicUsize>) {
    let body = match status {
        200 => r#"{"access_token":"t","expires_in":3600}"#,
        _ => r#"{"error":"invalid_client","error_description":"unknown, or the wrong secret"}"#,
    };
    let (planted, meanwhile) = (planted.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&meanwhile);
    let server = service_fn(move |request: Request<Full<Bytes>>| {
        counted.store(planted.copies(), Ordering::SeqCst);
        drop(request);
        let mut answer = Response::new(Full::from(body));
        *answer.status_mut() = status.try_into().unwrap();
        async { Ok(answer) }
    });
    (BoxCloneSyncService::new(server), meanwhile)
}
