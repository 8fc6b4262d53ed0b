//! What is told to whoever traces. `tests/leaks.rs` looks for secrets in it, and `tests/metrics.rs` is about the numbers.

#![cfg(feature = "tracing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
#[path = "support/telemetry.rs"]
mod telemetry;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Secret, Token, TokenCache, extension::NoToken,
    replay::NoReplay, token::TokenRequest,
};
use tracing::Instrument;

use self::{
    support::{Api, Body, TokenEndpoint, answer, get, lock, token},
    telemetry::{hear, quoted, table},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A new event needs a row in the guide, and a row an event.
#[test]
fn every_event_and_its_fields_are_in_the_guide_and_the_other_way_round() {
    let (heard, _listening) = hear();
    on_paused_time(what_happens_to_requests());
    on_paused_time(what_happens_to_token_requests());
    on_paused_time(what_happens_to_credentials());
    shut_down();
    #[cfg(feature = "shared")]
    on_paused_time(what_happens_in_a_fleet());
    #[cfg(feature = "dpop")]
    on_paused_time(what_happens_to_proofs());

    let events = heard.events().into_iter();
    let told: BTreeMap<_, _> = events
        .map(|event| (event.text, (event.level, event.fields)))
        .collect();
    let mut documented = events_in_the_guide();
    if cfg!(not(feature = "shared")) {
        documented.retain(|event, _| !event.contains("shared") && !event.contains("process"));
    }
    if cfg!(not(feature = "dpop")) {
        documented.retain(|event, _| !event.contains("DPoP"));
    }
    for (event, row) in &documented {
        assert_eq!(told.get(event), Some(row), "{event}");
    }
    for event in told.keys() {
        assert!(documented.contains_key(event), "{event} is not there");
    }
}

/// Of each event its level and its fields.
fn events_in_the_guide() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = table("Events").into_iter().map(|row| {
        let [event, level, fields] = row[..] else {
            // The last column is empty.
            return (quoted(row[0]), row[1].to_owned(), BTreeSet::new());
        };
        let mut names = quoted(fields);
        if fields.contains("of the cache") {
            let cache = ["cache", "key", "client_id", "server.address", "server.port"];
            names.extend(cache.map(str::to_owned));
        }
        (quoted(event), level.to_owned(), names)
    });
    rows.map(|(event, level, names)| {
        let event = event.into_iter().next().unwrap();
        (event, (level.trim_matches([' ', '|']).to_owned(), names))
    })
    .collect()
}

async fn what_happens_to_requests() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t2"]);
    let layer = BearerAuthLayer::new(endpoint.credentials());
    let send = async |request| {
        let service = layer.layer(api.service());
        service.oneshot(request).await.unwrap().status()
    };
    assert_eq!(send(get("/")).await, 200);
    api.accept_only([]);
    advance(SECOND).await;
    assert_eq!(send(get("/")).await, 401);
    api.accept_only(["t4"]);
    advance(SECOND * 60).await;
    assert_eq!(send(get("/")).await, 200);
    let mut without = get("/");
    without.extensions_mut().insert(NoToken);
    assert_eq!(send(without).await, 401);

    let once = BearerAuthLayer::new(endpoint.credentials()).replay(NoReplay);
    let once = once.layer(Api::default().service());
    once.oneshot(get("/")).await.unwrap();
}

async fn what_happens_to_token_requests() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            // Two attempts of each of two token requests.
            1..=4 => answer(503, ""),
            _ => token("t", 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    while cache.get().await.is_err() {
        advance(HOUR).await;
    }
    assert_eq!(endpoint.token_requests(), 5);
}

async fn what_happens_to_credentials() {
    let narrow = service_fn(async |_: Request<Body>| {
        let body = r#"{"access_token":"t","token_type":"bearer","expires_in":60,"scope":"a"}"#;
        Ok::<_, Infallible>(answer(200, body))
    });
    let narrow = ClientCredentials::builder("https://auth.test/token", "id", "secret")
        .scopes(["a", "b"])
        .build_with(narrow);
    let cache = TokenCache::new(narrow.unwrap());
    cache.get().await.unwrap();
    cache.refresh().await.unwrap();

    let rotated = service_fn(async |request: Request<Body>| {
        let form = request.into_body().collect().await.unwrap().to_bytes();
        let is_the_first = form.ends_with(b"secret0");
        Ok::<_, Infallible>(match is_the_first {
            true => answer(401, r#"{"error":"invalid_client"}"#),
            false => token("t", 60),
        })
    });
    let reads = AtomicUsize::new(0);
    let secret = Secret::from_provider(move || {
        let secret = format!("secret{}", reads.fetch_add(1, Ordering::SeqCst));
        async { Ok::<_, Infallible>(secret) }
    });
    let rotated =
        ClientCredentials::builder("https://auth.test/token", "id", secret).build_with(rotated);
    TokenCache::new(rotated.unwrap()).get().await.unwrap();

    let (cache, is_down) = discovered();
    for down in [false, true, true, false] {
        *lock(&is_down) = down;
        advance(HOUR * 2).await;
        cache.get().await.unwrap();
    }
}

/// A runtime ends during a token request.
fn shut_down() {
    let endpoint = TokenEndpoint::healthy(HOUR);
    let cache = TokenCache::new(endpoint.credentials());
    on_paused_time(async {
        let _ = tokio::time::timeout(SECOND, cache.get()).await;
    });
    assert_eq!(endpoint.token_requests(), 1);
}

/// Processes share a token in a folder, and the first one cannot read the key.
#[cfg(feature = "shared")]
async fn what_happens_in_a_fleet() {
    use tower_bearer::shared::{SealingKeys, SharedLayer, SharedStore};

    let folder = std::env::temp_dir().join(format!("tower-bearer-events-{}", std::process::id()));
    let reads = AtomicUsize::new(0);
    let key = Secret::from_provider(move || {
        let read = reads.fetch_add(1, Ordering::SeqCst);
        async move {
            match read {
                0 => Err("the vault is sealed"),
                _ => Ok("b7".repeat(32)),
            }
        }
    });
    let store = SharedStore::folder(&folder, SealingKeys::new(key)).unwrap();
    let endpoint = TokenEndpoint::healthy(SECOND);
    for _ in 0..3 {
        let credentials = endpoint.credentials();
        let layer = SharedLayer::new(&credentials, store.clone());
        let cache = TokenCache::new(layer.layer(credentials));
        cache.get().await.unwrap();
    }
    assert_eq!(endpoint.token_requests(), 2);
    std::fs::remove_dir_all(folder).unwrap();
}

/// An API asks for a nonce.
#[cfg(feature = "dpop")]
async fn what_happens_to_proofs() {
    use http::header::WWW_AUTHENTICATE;
    use tower_bearer::dpop::{DpopKey, DpopLayer};

    let api = service_fn(async |_: Request<Body>| {
        let mut answer = answer(401, "");
        let headers = answer.headers_mut();
        headers.insert(
            WWW_AUTHENTICATE,
            r#"DPoP error="use_dpop_nonce""#.parse().unwrap(),
        );
        headers.insert("dpop-nonce", "n1".parse().unwrap());
        Ok::<_, Infallible>(answer)
    });
    let service = DpopLayer::new(DpopKey::generate().unwrap()).layer(api);
    let mut request = get("/");
    request
        .headers_mut()
        .insert(AUTHORIZATION, "DPoP t1".parse().unwrap());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
}

#[tokio::test(start_paused = true)]
async fn token_requests_that_fail_and_succeed_again_are_told_once() {
    let (heard, _listening) = hear();
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1..=6 => answer(503, ""),
            7..=9 => answer(400, r#"{"error":"invalid_scope"}"#),
            _ => token("t", 3600),
        }
    });
    let cache = TokenCache::builder(endpoint.credentials()).name("billing");
    let cache = cache.build().unwrap();
    while cache.get().await.is_err() {
        advance(HOUR).await;
    }
    let told = heard.above_debug();
    let told: Vec<_> = told
        .iter()
        .map(|event| [&*event.level, &event.text, event.value("is_transient")])
        .collect();
    assert_eq!(
        told,
        [
            ["WARN", "token requests fail", "true"],
            ["WARN", "token requests fail", "false"],
            ["INFO", "token requests succeed again", ""]
        ]
    );
    assert_eq!(heard.count("a token request failed again"), 4);
    for event in heard.above_debug() {
        assert_eq!(event.value("cache"), "billing");
        assert_eq!(event.value("client_id"), "id");
        assert_eq!(event.value("server.address"), "auth.test");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_tells_how_long_the_token_lasts_and_when_the_next_one_is_due() {
    let (heard, _listening) = hear();
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(429, ""),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    advance(SECOND * 3000).await;
    cache.refresh().await.unwrap_err();
    let event = heard.one("token requests fail");
    assert_eq!(event.value("usable_for"), "600s");
    let retry_in = event.value("retry_in");
    assert!(retry_in.ends_with("ms") || retry_in == "1s", "{retry_in}");
    assert_eq!(event.value("error.type"), "unavailable");
    assert!(event.value("error").contains("429"));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_fresh_tokens_is_warned_about_once() {
    let (heard, _listening) = hear();
    let api = Api::default();
    let endpoint = TokenEndpoint::healthy(SECOND);
    let layer = BearerAuthLayer::new(endpoint.credentials());
    for _ in 0..20 {
        layer.layer(api.service()).oneshot(get("/")).await.unwrap();
        advance(HOUR / 4).await;
    }
    assert!(endpoint.token_requests() > 10);
    let told = heard.above_debug();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].text.contains("rejects fresh tokens"));
}

#[test]
fn an_ordinary_shutdown_warns_of_nothing() {
    let (heard, _listening) = hear();
    shut_down();
    let cut_off = heard.one("a token request was cut off");
    assert_eq!(cut_off.level, "DEBUG");
    assert!(heard.above_debug().is_empty());
}

/// The spans of a transport are inside. The request is no parent: the token request may outlive it.
#[tokio::test(start_paused = true)]
async fn a_token_request_is_a_span_that_follows_from_the_request_that_caused_it() {
    let (heard, _listening) = hear();
    let source = service_fn(|_: TokenRequest| {
        let answer = async {
            tokio::time::sleep(SECOND).await;
            Token::new("t")
        };
        answer.instrument(tracing::info_span!("transport"))
    });
    let cache = TokenCache::builder(source).name("companies").key("acme");
    let cache = cache.build().unwrap();
    let request = tracing::info_span!("request");
    cache.get().instrument(request).await.unwrap();

    let [span] = &heard.spans("token_request")[..] else {
        panic!("there is one span");
    };
    let documented = table("The span").into_iter();
    let documented: BTreeSet<_> = documented.flat_map(|row| quoted(row[0])).collect();
    assert_eq!(span.fields, documented);
    assert_eq!(span.level, "INFO");
    assert_eq!(span.parent, None);
    assert_eq!(span.follows, ["request"]);
    assert_eq!(
        (span.value("cache"), span.value("key")),
        ("companies", "acme")
    );
    let transport = &heard.spans("transport")[0];
    assert_eq!(transport.parent.as_deref(), Some("token_request"));
    let event = heard.one("requested an access token");
    assert_eq!(event.parent.as_deref(), Some("token_request"));
}

#[tokio::test(start_paused = true)]
async fn a_token_request_tells_its_reason_and_what_came_of_it() {
    let (heard, _listening) = hear();
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => answer(503, ""),
            6 => answer(400, r#"{"error":"invalid_scope"}"#),
            _ => token(&format!("t{post}"), 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    let service = BearerAuthLayer::from_cache(cache.clone());
    let service = service.layer(Api::accepting(["t3"]).service());
    service.oneshot(get("/")).await.unwrap();
    cache.invalidate(&cache.get().await.unwrap());
    cache.get().await.unwrap();
    advance(HOUR).await;
    cache.get().await.unwrap();
    cache.refresh().await.unwrap_err();

    let spans = heard.spans("token_request");
    let told: Vec<_> = spans
        .iter()
        .map(|span| ["reason", "attempt", "outcome", "error.type"].map(|field| span.value(field)))
        .collect();
    assert_eq!(
        told,
        [
            ["first", "2", "token", ""],
            ["rejected", "1", "token", ""],
            ["invalidated", "1", "token", ""],
            ["expired", "1", "token", ""],
            ["refresh", "1", "failed", "denied"],
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_is_told_by_its_host_and_port() {
    let (heard, _listening) = hear();
    let transport = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(token("t", 60)));
    for (url, host, port) in [
        ("https://auth.test/token", "auth.test", ""),
        ("https://auth.test:8443/token", "auth.test", "8443"),
        ("https://[::1]/token", "[::1]", ""),
        ("https://[::1]:8443/token", "[::1]", "8443"),
    ] {
        let source = ClientCredentials::builder(url, "id", "secret").build_with(transport);
        TokenCache::new(source.unwrap()).get().await.unwrap();
        let span = heard.spans("token_request").pop().unwrap();
        let told = (span.value("server.address"), span.value("server.port"));
        assert_eq!(told, (host, port), "{url}");
    }
}

/// Promise: R18
#[tokio::test(start_paused = true)]
async fn a_rejected_request_that_is_not_retried_tells_why() {
    let (heard, _listening) = hear();
    let endpoint = TokenEndpoint::healthy(SECOND);
    let service = BearerAuthLayer::new(endpoint.credentials())
        .replay(NoReplay)
        .layer(Api::default().service());
    service.oneshot(get("/")).await.unwrap();
    let event = heard.one("a rejected request is not retried");
    assert_eq!(event.level, "DEBUG");
    assert_eq!(event.value("reason"), "cannot_be_replayed");
    assert_eq!(event.value("error"), "");
}

/// Promise: R9, R18
#[tokio::test(start_paused = true)]
async fn a_rejected_request_whose_token_request_fails_tells_its_error() {
    let (heard, _listening) = hear();
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(400, r#"{"error":"invalid_scope"}"#),
        }
    });
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(Api::default().service());
    service.oneshot(get("/")).await.unwrap();
    let event = heard.one("a rejected request is not retried");
    assert_eq!(event.value("reason"), "token_request_failed");
    assert!(event.value("error").contains("invalid_scope"), "{event:?}");
}

/// Promise: R5
#[tokio::test(start_paused = true)]
async fn a_rejected_request_tells_whether_it_may_be_retried_and_how_old_the_token_is() {
    for (may, expected) in [(true, "true"), (false, "false")] {
        let (heard, _listening) = hear();
        let layer = BearerAuthLayer::new(TokenEndpoint::healthy(SECOND).credentials());
        layer.cache().get().await.unwrap();
        advance(SECOND * 60).await;
        let api = Api::default().service();
        let response = match may {
            true => layer.layer(api).oneshot(get("/")).await,
            false => layer.replay(NoReplay).layer(api).oneshot(get("/")).await,
        };
        assert_eq!(response.unwrap().status(), 401);
        let event = heard.one("the access token was rejected");
        assert_eq!(event.value("will_retry"), expected);
        assert_eq!(event.value("age"), "60s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_no_token_tells_why_and_that_it_was_answered_401() {
    let (heard, _listening) = hear();
    let api = Api::default();
    let all = BearerAuthLayer::new(TokenEndpoint::healthy(SECOND).credentials());
    let other = all.clone().origins(["https://other.test"]).unwrap();
    let send = other.layer(api.service()).oneshot(get("/"));
    send.await.unwrap();
    let mut without = get("/");
    without.extensions_mut().insert(NoToken);
    let send = all.layer(api.service()).oneshot(without);
    send.await.unwrap();
    let mut own = get("/");
    let value = "Bearer own".parse().unwrap();
    own.headers_mut().insert(AUTHORIZATION, value);
    let send = all.layer(api.service()).oneshot(own);
    send.await.unwrap();

    let mut events = heard.events();
    events.retain(|event| event.text == "a request is sent without a token");
    let told: Vec<_> = events
        .iter()
        .map(|event| ["reason", "server.address"].map(|field| event.value(field)))
        .collect();
    assert_eq!(
        told,
        [
            ["not_selected", "api.test"],
            ["opted_out", "api.test"],
            ["has_authorization", "api.test"]
        ]
    );
    let rejected = heard.count("a request without a token was answered 401");
    assert_eq!(rejected, 3);
}

#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_fetched_again_is_warned_about_once_and_used() {
    let (heard, _listening) = hear();
    let (cache, is_down) = discovered();
    for down in [false, true, true, true, false, false] {
        *lock(&is_down) = down;
        advance(HOUR * 2).await;
        cache.get().await.unwrap();
    }
    let told = heard.above_debug();
    let told: Vec<_> = told.iter().map(|event| &*event.level).collect();
    assert_eq!(told, ["WARN", "INFO"]);
    let event = heard.one("could not renew the authorization server's metadata");
    assert!(event.value("error").contains("answered 503"), "{event:?}");
    let again = "could not renew the authorization server's metadata again";
    assert_eq!(heard.count(again), 2);
}

/// A cache of tokens of a minute whose endpoint is discovered, and whether the server of the metadata is down.
fn discovered() -> (TokenCache, Arc<Mutex<bool>>) {
    const METADATA: &str =
        r#"{"issuer":"https://auth.test","token_endpoint":"https://auth.test/token"}"#;
    let is_down = Arc::<Mutex<bool>>::default();
    let is_it = Arc::clone(&is_down);
    let server = service_fn(move |request: Request<Body>| {
        let answer: Response<Body> = match request.uri().path() {
            "/token" => token("t", 60),
            _ if *lock(&is_it) => answer(503, ""),
            _ => answer(200, METADATA),
        };
        async { Ok::<_, Infallible>(answer) }
    });
    let source = ClientCredentials::discover("https://auth.test", "id", "secret");
    (TokenCache::new(source.build_with(server).unwrap()), is_down)
}

/// On a runtime of its own, which ends with it.
fn on_paused_time(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}
