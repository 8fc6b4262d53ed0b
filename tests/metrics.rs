//! What is counted and measured, as the exporter for Prometheus writes it.

#![cfg(all(feature = "metrics", feature = "tracing"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
#[path = "support/telemetry.rs"]
mod telemetry;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{Request, StatusCode};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString,
    Unit,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::{advance, timeout};
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, TokenCache,
    extension::{MinValidity, NoRetry},
};

use self::{
    support::{Api, Body, TokenEndpoint, answer, get, settle, token},
    telemetry::{hear, quoted, table},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A new metric needs a row in the guide, and a row a metric; and so do its unit and its labels.
#[tokio::test(start_paused = true)]
async fn every_metric_its_unit_and_its_labels_are_in_the_guide_and_the_other_way_round() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            3 => answer(400, r#"{"error":"invalid_scope"}"#),
            _ => token(&format!("t{post}"), 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    let layer = BearerAuthLayer::from_cache(cache.clone());
    let service = layer.layer(Api::accepting(["t2"]).service());
    service.oneshot(get("/")).await.unwrap();
    cache.refresh().await.unwrap_err();
    #[cfg(feature = "shared")]
    in_a_fleet().await;

    let mut told = exported.labels_by_metric();
    for labels in told.values_mut() {
        labels.remove("quantile");
    }
    let mut documented = metrics_in_the_guide();
    if cfg!(not(feature = "shared")) {
        documented.retain(|name, _| !name.contains("shared"));
    }
    assert_eq!(told, documented);
}

#[cfg(feature = "shared")]
async fn in_a_fleet() {
    use tower_bearer::{
        Secret,
        shared::{SealingKeys, SharedLayer, SharedStore},
    };

    let folder = std::env::temp_dir().join(format!("tower-bearer-metrics-{}", std::process::id()));
    let key = Secret::from("b7".repeat(32));
    let store = SharedStore::folder(&folder, SealingKeys::new(key)).unwrap();
    let endpoint = TokenEndpoint::healthy(SECOND);
    for _ in 0..2 {
        let credentials = endpoint.credentials();
        let layer = SharedLayer::new(&credentials, store.clone());
        let cache = TokenCache::new(layer.layer(credentials));
        cache.get().await.unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Of each metric, by its name in Prometheus, its labels.
fn metrics_in_the_guide() -> BTreeMap<String, BTreeSet<String>> {
    let rows = table("Metrics").into_iter().map(|row| {
        let name = quoted(row[0]).pop_first().unwrap().replace('.', "_");
        let suffix = match (row[1], row[2]) {
            ("counter", _) => "_total",
            (_, "s") => "_seconds",
            _ => "",
        };
        let labels = quoted(row[3]);
        let labels = labels.iter().map(|label| label.replace('.', "_"));
        (name + suffix, labels.collect())
    });
    rows.collect()
}

/// `examples/observed`: its queries are for series that are exported, by labels that they have, and it leaves no metric out.
#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_exported() {
    let alerts = include_str!("../examples/observed/alerts.yml");
    let dashboard = include_str!("../examples/observed/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries: Vec<_> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() >= panels.len());

    let series = series_in_the_guide();
    for query in queries.iter().chain([&alerts]) {
        let parts = query.match_indices("tower_bearer_");
        for part in parts.map(|(at, _)| &query[at..]) {
            let end = part.find(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
            let (name, rest) = part.split_at(end.unwrap_or(part.len()));
            let labels = series.get(name);
            let labels = labels.unwrap_or_else(|| panic!("{name} is not exported: {query}"));
            let selector = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next());
            for matcher in selector
                .into_iter()
                .flat_map(|selector| selector.split(','))
            {
                let label = matcher.split(['=', '!']).next().unwrap();
                assert!(label == "job" || labels.contains(label), "{label}: {query}");
            }
        }
    }
    for metric in metrics_in_the_guide().into_keys() {
        let is_shown = queries.iter().any(|query| query.contains(&metric));
        assert!(is_shown, "{metric} is on no panel");
    }
}

/// Of each time series in Prometheus its labels.
fn series_in_the_guide() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = metrics_in_the_guide();
    for row in table("Metrics") {
        if row[1] == "histogram" {
            let name = quoted(row[0]).pop_first().unwrap().replace('.', "_") + "_seconds";
            let labels = all.remove(&name).unwrap();
            for suffix in ["_bucket", "_sum", "_count"] {
                all.insert(format!("{name}{suffix}"), labels.clone());
            }
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn token_requests_are_counted_by_reason_and_by_what_went_wrong() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        tokio::time::sleep(SECOND).await;
        match post {
            1 => answer(429, ""),
            _ => token(&format!("t{post}"), 3600),
        }
    });
    let cache = named(&endpoint, "billing");
    cache.get().await.unwrap_err();
    advance(SECOND * 60).await;
    cache.get().await.unwrap();
    cache.refresh().await.unwrap();

    let count = "tower_bearer_token_request_duration_seconds_count";
    for labels in [
        r#"cache="billing",reason="first",error_type="unavailable""#,
        r#"cache="billing",reason="first""#,
        r#"cache="billing",reason="refresh""#,
    ] {
        assert_eq!(exported.value(count, labels), Some(1.0), "{labels}");
    }
    let sum = "tower_bearer_token_request_duration_seconds_sum";
    let labels = r#"cache="billing",reason="refresh""#;
    assert_eq!(exported.value(sum, labels), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_a_thousand_waits_and_a_warm_request_is_none() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::healthy(SECOND * 2);
    let cache = named(&endpoint, "billing");
    let waits = (0..1000).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get().await.unwrap() })
    });
    for wait in waits.collect::<Vec<_>>() {
        wait.await.unwrap();
    }
    for _ in 0..10 {
        cache.get().await.unwrap();
    }
    let name = "tower_bearer_wait_duration_seconds";
    let value = |suffix: &str| exported.value(&format!("{name}{suffix}"), r#"cache="billing""#);
    assert_eq!(value("_count"), Some(1000.0));
    assert_eq!(value("_sum"), Some(2000.0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_brings_no_token_is_counted_by_what_went_wrong() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        tokio::time::sleep(SECOND).await;
        match post {
            1 => token("t", 3600),
            _ => answer(400, r#"{"error":"invalid_scope"}"#),
        }
    });
    let cache = named(&endpoint, "billing");
    timeout(SECOND / 2, cache.get()).await.unwrap_err();
    cache.get().await.unwrap();
    advance(HOUR).await;
    cache.get().await.unwrap_err();
    // During the backoff, at once.
    cache.get().await.unwrap_err();
    let count = "tower_bearer_wait_duration_seconds_count";
    for (error_type, expected) in [("dropped", 1.0), ("denied", 2.0)] {
        let labels = format!(r#"cache="billing",error_type="{error_type}""#);
        assert_eq!(exported.value(count, &labels), Some(expected), "{labels}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_kept_warm_is_no_wait() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let cache = named(&TokenEndpoint::healthy(SECOND), "billing");
    cache.keep_warm().unwrap();
    tokio::time::sleep(HOUR * 10).await;
    assert!(exported.text().contains("reason=\"refresh\""));
    assert!(!exported.text().contains("tower_bearer_wait_duration"));
}

/// It never fails a request: the current token has to do.
#[tokio::test(start_paused = true)]
async fn a_token_that_should_last_longer_is_no_failed_wait() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 100),
            _ => std::future::pending().await,
        }
    });
    let cache = named(&endpoint, "billing");
    cache.get().await.unwrap();
    advance(SECOND * 60).await;
    let service = BearerAuthLayer::from_cache(cache).layer(Api::accepting(["t1"]).service());
    let mut request = get("/");
    let long = MinValidity::of(SECOND * 80);
    request.extensions_mut().insert(long);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(endpoint.token_requests(), 2);
    let text = exported.text();
    let mut waits = text.lines().filter(|line| line.contains("wait_duration"));
    assert!(!waits.any(|line| line.contains("error_type")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn rejections_are_counted_by_what_became_of_the_request() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let api = Api::accepting(["t2"]);
    let layer = BearerAuthLayer::from_cache(named(&TokenEndpoint::healthy(SECOND), "billing"));
    let send = async |request| {
        let service = layer.layer(api.service());
        service.oneshot(request).await.unwrap().status()
    };
    layer.cache().get().await.unwrap();
    advance(SECOND * 60).await;
    assert_eq!(send(get("/")).await, StatusCode::OK);
    api.accept_only([]);
    advance(SECOND * 60).await;
    assert_eq!(send(get("/")).await, StatusCode::UNAUTHORIZED);
    // The cool-down after a fresh token that was rejected.
    assert_eq!(send(get("/")).await, StatusCode::UNAUTHORIZED);
    let mut once = get("/other");
    once.extensions_mut().insert(NoRetry);
    assert_eq!(send(once).await, StatusCode::UNAUTHORIZED);
    let name = "tower_bearer_rejections_total";
    for outcome in ["accepted", "rejected_again", "cool_down", "opted_out"] {
        let labels = format!(r#"cache="billing",outcome="{outcome}""#);
        assert_eq!(exported.value(name, &labels), Some(1.0), "{outcome}");
    }
    // Three tokens were rejected: after 60 s, after 60 s, at once.
    let age = "tower_bearer_rejected_token_age_seconds";
    let value = |suffix: &str| exported.value(&format!("{age}{suffix}"), r#"cache="billing""#);
    assert_eq!(value("_count"), Some(3.0));
    let sum = value("_sum").unwrap();
    assert!((120.0..125.0).contains(&sum), "{sum}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_without_an_answer_is_counted_as_such() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let layer = BearerAuthLayer::from_cache(named(&TokenEndpoint::healthy(SECOND), "billing"));
    let calls = Arc::new(AtomicUsize::new(0));
    let api = service_fn(move |_: Request<Body>| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                0 => Ok(answer(401, "")),
                _ => Err(BoxError::from("the connection was reset")),
            }
        }
    });
    layer.layer(api).oneshot(get("/")).await.unwrap_err();
    let labels = r#"cache="billing",outcome="retry_failed""#;
    let value = exported.value("tower_bearer_rejections_total", labels);
    assert_eq!(value, Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_times_of_a_token_and_of_a_backoff_are_unix_time_and_zero_without_one() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            2 => answer(429, ""),
            _ => token("t3", 3600),
        }
    });
    let cache = named(&endpoint, "billing");
    let value = |name: &str| exported.value(name, r#"cache="billing""#).unwrap();
    let (expiry, backoff) = (
        "tower_bearer_token_expiry_seconds",
        "tower_bearer_backoff_end_seconds",
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs_f64();
    let token = cache.get().await.unwrap();
    let left = value(expiry) - now;
    assert!((3590.0..3610.0).contains(&left), "{left}");
    assert_eq!(value(backoff), 0.0);

    cache.refresh().await.unwrap_err();
    let left = value(backoff) - now;
    assert!((0.0..10.0).contains(&left), "{left}");
    assert!(value(expiry) > now);

    cache.invalidate(&token);
    assert_eq!(value(expiry), 0.0);
    advance(SECOND * 60).await;
    cache.get().await.unwrap();
    assert_eq!(value(backoff), 0.0);
}

#[tokio::test(start_paused = true)]
async fn caches_are_counted_by_state_until_they_are_dropped() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            3 => answer(400, r#"{"error":"invalid_scope"}"#),
            _ => token("t", 3600),
        }
    });
    let caches = [(); 3].map(|()| named(&endpoint, "companies"));
    let value = |state: &str| {
        let labels = format!(r#"cache="companies",state="{state}""#);
        exported.value("tower_bearer_caches", &labels)
    };
    for cache in &caches {
        let _ = cache.get().await;
    }
    assert_eq!((value("ok"), value("failing")), (Some(2.0), Some(1.0)));
    advance(HOUR).await;
    for cache in &caches {
        cache.get().await.unwrap();
    }
    assert_eq!((value("ok"), value("failing")), (Some(3.0), Some(0.0)));
    drop(caches);
    settle().await;
    assert_eq!(value("ok"), Some(0.0));
}

/// It hears what comes from then on, with the right names, and no number is below zero.
#[tokio::test(start_paused = true)]
async fn a_recorder_that_is_installed_later_is_heard() {
    let cache = named(&TokenEndpoint::healthy(SECOND), "billing");
    cache.get().await.unwrap();
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    cache.refresh().await.unwrap();
    let labels = r#"cache="billing",state="ok""#;
    assert_eq!(exported.value("tower_bearer_caches", labels), Some(1.0));
    let expiry = "tower_bearer_token_expiry_seconds";
    assert!(exported.value(expiry, r#"cache="billing""#) > Some(0.0));
    drop(cache);
    settle().await;
    assert_eq!(exported.value("tower_bearer_caches", labels), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_cache_without_a_name_has_the_client_and_its_server_for_a_label() {
    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let cache = TokenCache::new(TokenEndpoint::healthy(SECOND).credentials());
    cache.get().await.unwrap();
    let own = TokenCache::new(tower_bearer::token::FixedToken::new("t").unwrap());
    own.get().await.unwrap();
    let name = "tower_bearer_token_expiry_seconds";
    for label in ["id@auth.test", "unnamed"] {
        let labels = format!(r#"cache="{label}""#);
        assert!(exported.value(name, &labels) > Some(0.0), "{label}");
    }
}

/// However many keys there are, there is one label, or the few names that the program gives.
#[cfg(feature = "keyed")]
#[tokio::test(start_paused = true)]
async fn keys_are_no_labels() {
    use tower_bearer::cache::Keyed;

    let recorder = recorder();
    let (exported, _recording) = record(&recorder);
    let endpoint = TokenEndpoint::healthy(SECOND);
    let unnamed = endpoint.clone();
    let unnamed = Keyed::new(move |_: &usize| TokenCache::new(unnamed.credentials()));
    let named = Keyed::new(move |key: &usize| {
        let cache = TokenCache::builder(endpoint.credentials());
        let cache = cache.name("companies").key(format!("company{key}"));
        cache.build().unwrap()
    });
    for key in 0..50 {
        unnamed.get(&key).get().await.unwrap();
        named.get(&key).get().await.unwrap();
    }
    for label in ["keyed", "companies"] {
        let labels = format!(r#"cache="{label}",state="ok""#);
        let caches = exported.value("tower_bearer_caches", &labels);
        assert_eq!(caches, Some(50.0), "{label}");
    }
    let text = exported.text();
    assert!(!text.contains("company0"), "{text}");
    // The time of one token says nothing of the others.
    assert!(!text.contains("tower_bearer_token_expiry"), "{text}");
}

/// Neither a recorder nor a subscriber hears of it: they would cost more than the request.
#[tokio::test(start_paused = true)]
async fn a_request_with_a_valid_token_that_is_accepted_tells_nothing() {
    let counting = Counting::default();
    let _recording = metrics::set_default_local_recorder(&counting);
    let (heard, _listening) = hear();
    let layer = BearerAuthLayer::from_cache(named(&TokenEndpoint::healthy(SECOND), "billing"));
    let service = layer.layer(Api::accepting(["t1"]).service());
    service.clone().oneshot(get("/")).await.unwrap();
    let told = || {
        let recorded = counting.0.load(Ordering::Relaxed);
        let spans = heard.spans("token_request").len();
        (recorded, heard.events().len(), spans)
    };
    let after_the_first = told();
    assert!(after_the_first.0 > 0 && after_the_first.1 > 0);
    for _ in 0..100 {
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(told(), after_the_first);
}

/// Counts how often it is asked for anything.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.count();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.count();
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.count();
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.count();
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.count();
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.count();
        Histogram::noop()
    }
}

fn named(endpoint: &TokenEndpoint, name: &str) -> TokenCache {
    let cache = TokenCache::builder(endpoint.credentials()).name(name);
    cache.build().unwrap()
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .build_recorder()
}

/// Records what this thread tells.
fn record(recorder: &PrometheusRecorder) -> (Exported, LocalRecorderGuard<'_>) {
    let guard = metrics::set_default_local_recorder(recorder);
    (Exported(recorder.handle()), guard)
}

/// What is exported.
struct Exported(PrometheusHandle);

impl Exported {
    fn text(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }

    fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let text = self.text();
        let line = format!("{name}{{{labels}}} ");
        let value = text.lines().find_map(|text| text.strip_prefix(&*line))?;
        Some(value.parse().unwrap())
    }

    fn labels_by_metric(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut metrics = BTreeMap::<String, BTreeSet<String>>::new();
        let text = self.text();
        let names = text.lines().filter_map(|line| {
            let name = line.strip_prefix("# TYPE ")?;
            name.split(' ').next()
        });
        for name in names {
            metrics.insert(name.to_owned(), BTreeSet::new());
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once('{') else {
                continue;
            };
            let (labels, _) = rest.split_once('}').unwrap();
            let name = ["_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let known = metrics.get_mut(name).unwrap();
            known.extend(labels.map(|(label, _)| label.to_owned()));
        }
        metrics
    }
}
