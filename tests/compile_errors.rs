//! What the compiler says to somebody whose stack does not fit.
//!
//! Each mistake is a program of its own in one package, so that one run of cargo tells of them all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

/// A mistake, made in one way of composing.
struct Mistake {
    name: &'static str,
    /// What somebody wrote.
    code: &'static str,
    /// What the message names, and what it says as the way out.
    told: &'static [&'static str],
}

/// What every program begins with.
const PRELUDE: &str = r#"
#![allow(unused)]
use std::time::Duration;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, limit::{RateLimit, rate::Rate}, service_fn};
use tower_bearer::{*, cache::*, replay::*, select::*, token::*, unauthorized::*};

type Small = Full<Bytes>;

fn client<B>() -> impl Service<Request<B>, Response = Response<Small>, Error = std::io::Error> + Clone {
    service_fn(|_: Request<B>| async { Ok(Response::new(Full::default())) })
}

fn source() -> FixedToken {
    FixedToken::new("t").unwrap()
}

fn layer() -> BearerAuthLayer {
    BearerAuthLayer::new(source())
}

fn request<B: Default>() -> Request<B> {
    Request::new(B::default())
}

fn caches() -> Keyed<String> {
    Keyed::new(|_: &String| TokenCache::new(source()))
}

#[derive(Clone, Debug)]
struct NoError;

fn no_error() -> impl Service<Request<Small>, Response = Response<Small>, Error = NoError> + Clone {
    service_fn(|_: Request<Small>| async { Ok(Response::new(Full::default())) })
}

fn limited() -> RateLimit<impl Service<Request<Small>, Response = Response<Small>, Error = std::io::Error> + Clone> {
    RateLimit::new(client::<Small>(), Rate::new(1, Duration::from_secs(1)))
}

fn is_a_service<B, S: Service<Request<B>>>(_: S) {}

fn main() {
    //CODE
}
"#;

/// The compiler quotes the service's definition, with these comments in it, to somebody who calls `oneshot`, `ready` or `call`
/// on what is no service: why, it does not say.
const QUOTED: &[&str] = &[".check::<YourRequestBody>()"];
const REPLAYS: &[&str] = &[
    "Body",
    ".replay(Buffered::up_to(",
    ".replay(NoReplay)",
    "CloneBody",
];
const WRONG_ERROR: &[&str] = &["NoError", "std::error::Error"];
const NOT_CLONE: &[&str] = &["RateLimit<", ": Clone`"];

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "secret-env",
        code: r#"let _ = Secret::env("MY_SECRET");"#,
        told: &["Secret::from_env", "Secret::from_file"],
    },
    Mistake {
        name: "secret-new",
        code: r#"let _ = Secret::new("MY_SECRET");"#,
        told: &["Secret::from_env", "Secret::from_file"],
    },
    Mistake {
        name: "body-oneshot",
        code: "let _ = layer().layer(client::<Body>()).oneshot(request());",
        told: &[
            ".replay(Buffered::up_to(",
            ".replay(NoReplay)",
            ".check::<YourRequestBody>()",
        ],
    },
    Mistake {
        name: "body-call",
        code: "let _ = ServiceBuilder::new().layer(layer()).service(client::<Body>()).call(request());",
        told: REPLAYS,
    },
    Mistake {
        name: "body-check",
        code: "let _ = layer().layer(client::<Body>()).check::<Body>();",
        told: REPLAYS,
    },
    Mistake {
        name: "body-argument",
        code: "is_a_service::<Body, _>(layer().layer(client::<Body>()));",
        told: REPLAYS,
    },
    Mistake {
        name: "select-gives-bool",
        code: r#"let _ = layer().select(|head: &RequestHead<'_>| head.uri().path() == "/").layer(client::<Small>()).oneshot(request());"#,
        told: &[
            "expected `Option<_>`, found `bool`",
            "BearerAuthLayer::<Sel, U, Rp, C>::select",
        ],
    },
    Mistake {
        name: "select-gives-bool-in-a-builder",
        code: r#"let _ = ServiceBuilder::new().layer(layer().select(|head: &RequestHead<'_>| head.uri().path() == "/")).service(client::<Small>());"#,
        told: &["expected `Option<_>`, found `bool`"],
    },
    Mistake {
        name: "select-takes-a-request",
        code: "let _ = layer().select(|_: &Request<Small>| Some(()));",
        told: &["expected closure signature", "RequestHead<"],
    },
    Mistake {
        name: "select-without-a-type",
        code: r#"let _ = layer().select(|head| (head.uri().path() == "/").then_some(()));"#,
        told: &["consider giving this closure parameter an explicit type"],
    },
    Mistake {
        name: "select-of-another-kind",
        code: "let _ = layer().select(BearerChallenge);",
        told: &[
            "BearerChallenge` does not select requests",
            "|request: &RequestHead<'_>| -> Option<Key>",
        ],
    },
    Mistake {
        name: "select-by-another-key",
        code: "let _ = layer().select(ByExtension::<u32>::new());",
        told: &[
            "<ByExtension<u32> as Select>::Key == ()",
            "expected `()`, found `u32`",
        ],
    },
    Mistake {
        name: "unauthorized-takes-a-status",
        code: "let _ = layer().unauthorized(|status: StatusCode| status == 401).layer(client::<Small>()).oneshot(request());",
        told: &[
            "expected closure signature",
            "ResponseHead<",
            "`Unauthorized`",
        ],
    },
    Mistake {
        name: "unauthorized-takes-a-response",
        code: "let _ = ServiceBuilder::new().layer(layer().unauthorized(|response: &Response<Small>| response.status() == 401));",
        told: &[
            "expected closure signature",
            "ResponseHead<",
            "`Unauthorized`",
        ],
    },
    Mistake {
        name: "unauthorized-of-another-kind",
        code: "let _ = layer().unauthorized(Always);",
        told: &[
            "Always` does not decide which responses reject a token",
            "|response: &ResponseHead<'_>| -> bool",
        ],
    },
    Mistake {
        name: "not-clone-layer",
        code: "let _ = layer().layer(limited());",
        told: NOT_CLONE,
    },
    Mistake {
        name: "not-clone-oneshot",
        code: "let _ = layer().layer(limited()).oneshot(request());",
        told: NOT_CLONE,
    },
    Mistake {
        name: "not-clone-in-a-builder",
        code: "let _ = ServiceBuilder::new().layer(layer()).rate_limit(1, Duration::from_secs(1)).service(client::<Small>()).oneshot(request());",
        told: &["RateLimit<_>: Clone"],
    },
    Mistake {
        name: "keyed-as-one-cache",
        code: "let _ = BearerAuthLayer::from_cache(caches()).layer(client::<Small>()).oneshot(request());",
        told: &["expected `TokenCache`, found `Keyed<String>`"],
    },
    Mistake {
        name: "keyed-without-select",
        code: "let _ = ServiceBuilder::new().layer(BearerAuthLayer::keyed(caches())).service(client::<Small>());",
        told: &[
            "argument #2",
            "BearerAuthLayer::keyed(caches(), /* select */)",
        ],
    },
    Mistake {
        name: "keyed-by-another-key",
        code: "let _ = BearerAuthLayer::keyed(caches(), Always).layer(client::<Small>()).oneshot(request());",
        told: &[
            "<Always as Select>::Key == String",
            "expected `String`, found `()`",
        ],
    },
    Mistake {
        name: "buffered-oneshot",
        code: "let _ = layer().replay(Buffered::up_to(1024)).layer(client::<Body>()).oneshot(request());",
        told: QUOTED,
    },
    Mistake {
        name: "buffered-check",
        code: "let _ = layer().replay(Buffered::up_to(1024)).layer(client::<Body>()).check::<Body>();",
        told: &["Service<http::Request<ReplayBody<Body>>>` is not implemented"],
    },
    Mistake {
        name: "replay-of-another-kind",
        code: "let _ = layer().replay(Always).layer(client::<Small>()).oneshot(request());",
        told: &[
            "Always` does not replay request bodies",
            "Buffered::up_to(",
            "NoReplay",
        ],
    },
    Mistake {
        name: "middleware-replay",
        code: "let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new());
               let _ = client.with(layer().replay(std::sync::Arc::new(CloneBody)));",
        told: &["CloneBody>>: Middleware` is not satisfied", "Rp: Resend"],
    },
    Mistake {
        name: "replay-up-to-a-number",
        code: "let _ = ServiceBuilder::new().layer(layer().replay(64 * 1024));",
        told: &["does not replay request bodies", "Buffered::up_to("],
    },
    Mistake {
        name: "replay-of-ones-own-without-its-line",
        code: r#"
            struct Mine;
            impl Replay<Small> for Mine {
                type Body = Small;
                type Recording = ();
                fn pass(&self, body: Small) -> Small { body }
                fn record(&self, body: Small) -> (Small, Option<()>) { (body, None) }
                fn rewind(&self, _: ()) -> Option<Small> { None }
            }
        "#,
        told: &[
            "`Mine` does not replay request bodies",
            "impl ReplayPolicy for Mine {}",
        ],
    },
    Mistake {
        name: "error-oneshot",
        code: "let _ = layer().layer(no_error()).oneshot(request());",
        told: QUOTED,
    },
    Mistake {
        name: "error-check",
        code: "let _ = ServiceBuilder::new().layer(layer()).service(no_error()).check::<Small>();",
        told: WRONG_ERROR,
    },
    Mistake {
        name: "builder-as-a-source",
        code: r#"let _ = BearerAuthLayer::new(ClientCredentials::builder("https://auth.test", "id", "secret"));"#,
        told: &[
            "`ClientCredentialsBuilder` is not a source of tokens",
            ".build()?",
        ],
    },
    Mistake {
        name: "builder-as-a-caches-source",
        code: r#"let _ = TokenCache::new(ClientCredentials::builder("https://auth.test", "id", "secret"));"#,
        told: &[
            "`ClientCredentialsBuilder` is not a source of tokens",
            ".build()?",
        ],
    },
    Mistake {
        name: "builder-as-a-cache",
        code: "let _ = BearerAuthLayer::from_cache(TokenCache::builder(source()));",
        told: &["expected `TokenCache`, found `TokenCacheBuilder<FixedToken>`"],
    },
    Mistake {
        name: "cache-as-a-source",
        code: "let _ = BearerAuthLayer::new(TokenCache::new(source()));",
        told: &[
            "TokenCache` is not a source of tokens",
            "`BearerAuthLayer::from_cache`",
        ],
    },
    Mistake {
        name: "result-as-a-source",
        code: r#"let _ = ServiceBuilder::new().layer(BearerAuthLayer::new(FixedToken::new("t")));"#,
        told: &[
            "`Result<tower_bearer::token::FixedToken, tower_bearer::Error>` is not a source of tokens",
            "or with `?`",
        ],
    },
    Mistake {
        name: "result-as-a-cache",
        code: "let _ = BearerAuthLayer::from_cache(TokenCache::builder(source()).build());",
        told: &["expected `TokenCache`, found `Result<TokenCache, Error>`"],
    },
    Mistake {
        name: "another-order-of-types",
        code: r#"
            struct Api<C> { service: BearerAuth<C, Origins, Buffered> }
            let layer = layer().origins(["https://api.test"]).unwrap().replay(Buffered::up_to(1024));
            let _ = Api { service: layer.layer(client::<Small>()) };
        "#,
        told: &[
            "mismatched types",
            "BearerAuth<_, _, tower_bearer::replay::Buffered",
        ],
    },
    Mistake {
        name: "guess-with-origins",
        code: r#"let _ = layer().allow_origins(["https://api.test"]);"#,
        told: &["`origins`"],
    },
];

/// Ways out that the messages name.
const RIGHT: &[(&str, &str)] = &[
    (
        "right-replay",
        "let _ = layer().replay(Buffered::up_to(64 * 1024)).layer(client::<ReplayBody<Body>>()).check::<Body>();
         let _ = layer().replay(NoReplay).layer(client::<Body>()).oneshot(Request::new(Body::empty()));",
    ),
    (
        "right-closures",
        "let layer = layer()
             .select(|request: &RequestHead<'_>| request.uri().path().starts_with(\"/\").then_some(()))
             .unauthorized(|response: &ResponseHead<'_>| response.status() == 403);
         is_a_service::<Small, _>(ServiceBuilder::new().layer(layer).service(client::<Small>()));",
    ),
    (
        "right-keyed",
        "let by_path = |request: &RequestHead<'_>| request.uri().path().split('/').nth(1).map(str::to_owned);
         is_a_service::<Small, _>(BearerAuthLayer::keyed(caches(), by_path).layer(client::<Small>()));",
    ),
    (
        "right-shared-policies",
        "let replay: std::sync::Arc<dyn Replay<Small, Body = Small, Recording = Small> + Send + Sync> =
             std::sync::Arc::new(CloneBody);
         let select: std::sync::Arc<dyn Select<Key = ()> + Send + Sync> = std::sync::Arc::new(Always);
         is_a_service::<Small, _>(layer().replay(replay).select(select).layer(client::<Small>()));",
    ),
];

/// What the compiler says of each program that does not compile.
static SAID: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let package = folder.join("mistakes");
    let programs = package.join("src/bin");
    // Without those of another version of this file.
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir_all(&programs).unwrap();
    let mistakes = MISTAKES.iter().map(|mistake| (mistake.name, mistake.code));
    for (name, code) in mistakes.chain(RIGHT.iter().copied()) {
        let program = PRELUDE.replace("//CODE", code);
        fs::write(programs.join(format!("{name}.rs")), program).unwrap();
    }
    fs::write(
        package.join("Cargo.toml"),
        format!(
            r#"
            [package]
            name = "mistakes"
            version = "0.0.0"
            edition = "2024"
            [dependencies]
            axum-core = "0.5"
            bytes = "1"
            http = "1"
            http-body-util = "0.1"
            reqwest = {{ version = "0.13", default-features = false }}
            reqwest-middleware = {{ version = "0.5", default-features = false }}
            tower = {{ version = "0.5", default-features = false, features = ["limit", "util"] }}
            tower-bearer = {{ path = {root:?}, default-features = false, features = ["keyed", "reqwest-middleware"] }}
            [workspace]
            "#
        ),
    )
    .unwrap();
    // The same versions, so that nothing need be fetched.
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--keep-going",
            "--message-format=json",
        ])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    let mut said: HashMap<String, String> = HashMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] == "error" {
            let name = line["target"]["name"].as_str().unwrap().to_owned();
            let text = line["message"]["rendered"].as_str().unwrap();
            said.entry(name).or_default().push_str(text);
        }
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!said.is_empty(), "the package was not checked: {stderr}");
    said
});

#[test]
fn each_mistake_is_told_with_its_reason_or_the_way_out() {
    let mut missed = Vec::new();
    for Mistake { name, told, .. } in MISTAKES {
        match SAID.get(*name) {
            None => missed.push(format!("{name} compiles")),
            Some(said) => missed.extend(
                told.iter()
                    .filter(|told| !said.contains(**told))
                    .map(|told| format!("{name} does not say {told:?}:\n{said}")),
            ),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// All but those that only the first request shows, where the bound is tower's.
#[test]
fn a_mistake_in_a_policy_is_told_once_and_where_it_is_made() {
    for Mistake { name, .. } in MISTAKES {
        let is_of_a_policy = [
            "select-",
            "unauthorized-",
            "replay-",
            "keyed-",
            "builder-",
            "result-",
        ]
        .iter()
        .any(|kind| name.starts_with(kind));
        if is_of_a_policy && let Some(said) = SAID.get(*name) {
            let first = said.lines().next().unwrap();
            assert!(!first.contains("trait bounds were not satisfied"), "{said}");
        }
    }
}

/// It would make the variable's name the secret.
#[test]
fn a_guessed_constructor_of_a_secret_is_not_answered_by_from() {
    for (name, said) in SAID.iter().filter(|(name, _)| name.starts_with("secret-")) {
        assert!(!said.contains("Secret::from("), "{name}: {said}");
    }
}

#[test]
fn the_ways_out_compile() {
    for (name, _) in RIGHT {
        assert_eq!(SAID.get(*name), None, "{name}");
    }
}
