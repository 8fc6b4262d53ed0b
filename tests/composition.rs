//! Other layers of tower and tower-http around this one: the rows of `docs::composition` that could hurt, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Request, Response, StatusCode, header::LOCATION};
use tokio::time::{Instant, Sleep, sleep};
use tokio_test::{assert_pending, task};
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    buffer::Buffer,
    limit::ConcurrencyLimit,
    load_shed::error::Overloaded,
    retry::{Policy, RetryLayer},
    service_fn,
    timeout::error::Elapsed,
};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error, ErrorKind, extension::NoToken, select::Origins,
};
use tower_http::{
    follow_redirect::{
        FollowRedirectLayer,
        policy::{FilterCredentials, Limited, PolicyExt},
    },
    timeout::TimeoutLayer,
    trace::{DefaultMakeSpan, TraceLayer},
};

use self::support::{Api, Body, TokenEndpoint, answer, get, lock, settle, text, token};

const SECOND: Duration = Duration::from_secs(1);

/// Promise: R6
#[tokio::test(start_paused = true)]
async fn a_retry_above_that_minds_401_multiplies_calls_and_token_requests_as_far_as_the_cool_down_lets_it()
 {
    let at_once = ["t1", "t2", "t2", "t2"].as_slice();
    let patiently = ["t1", "t2", "t2", "t3", "t3", "t4"].as_slice();
    for (after, tokens, token_requests) in
        [(Duration::ZERO, at_once, 2), (SECOND * 5, patiently, 4)]
    {
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        let api = Api::default();
        let service = ServiceBuilder::new()
            .layer(twice_more(after, |status| status == Some(401)))
            .layer(BearerAuthLayer::new(endpoint.credentials()))
            .service(api.service());

        let response = service.oneshot(get("/")).await.unwrap();

        assert_eq!(response.status(), 401);
        assert_eq!(api.tokens(), tokens);
        assert_eq!(endpoint.token_requests(), token_requests);
    }
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_retry_above_that_minds_errors_makes_no_token_request_before_the_backoff_is_over() {
    let endpoint = TokenEndpoint::new(|_| async { answer(400, r#"{"error":"invalid_scope"}"#) });
    let api = Api::default();
    let service = ServiceBuilder::new()
        .layer(twice_more(SECOND, |status| status.is_none()))
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .service(api.service());
    let started = Instant::now();

    let error = service.oneshot(get("/")).await.unwrap_err();

    assert_eq!(started.elapsed(), SECOND * 2);
    assert!(error.downcast::<Error>().unwrap().retry_after().is_some());
    assert_eq!(endpoint.token_requests(), 1);
    assert_eq!(api.calls().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_above_sends_the_current_token_and_a_retry_below_the_one_that_ran_out() {
    let when_busy = twice_more(SECOND * 120, |status| status == Some(503));

    let (endpoint, api) = (short_lived(), Api::accepting(["t2"]));
    let above = ServiceBuilder::new()
        .layer(when_busy.clone())
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .service(busy_at_first(&api));
    assert_eq!(above.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "t2"]);

    let (endpoint, api) = (short_lived(), Api::accepting(["t2"]));
    let below = ServiceBuilder::new()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .layer(when_busy)
        .service(busy_at_first(&api));
    assert_eq!(below.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "t1", "t2"]);
}

/// Promise: S1
#[tokio::test(start_paused = true)]
async fn a_redirect_followed_below_takes_the_token_along_the_same_origin_and_to_no_other() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (api, other) = (Api::accepting(["t1"]), Api::default());
    let layer = BearerAuthLayer::new(endpoint.credentials());

    let standard = FollowRedirectLayer::new().layer(web(&api, &other));
    let service = layer.layer(standard);
    let response = service.clone().oneshot(get("/to/api.test/")).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "t1"]);
    let response = service.oneshot(get("/to/other.test/")).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(other.tokens(), [""]);

    // The filter is part of the standard policy, and of no other.
    let unfiltered = FollowRedirectLayer::with_policy(Limited::default()).layer(web(&api, &other));
    let response = layer.layer(unfiltered).oneshot(get("/to/other.test/"));
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(other.tokens(), ["", "t1"]);
}

#[tokio::test(start_paused = true)]
async fn a_401_of_another_origin_behind_a_redirect_followed_below_is_taken_for_a_rejection() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (api, other) = (Api::accepting(["t1", "t2"]), Api::default());
    let to_closed = || get("/to/other.test/closed");

    let below = ServiceBuilder::new()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .layer(FollowRedirectLayer::new())
        .service(web(&api, &other));
    let response = below.oneshot(to_closed()).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert_eq!(other.tokens(), ["", ""]);
    assert_eq!(endpoint.token_requests(), 2);

    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (api, other) = (Api::accepting(["t1"]), Api::default());
    let above = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(BearerAuthLayer::new(endpoint.credentials()).select(only_api()))
        .service(web(&api, &other));
    let response = above.oneshot(to_closed()).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(api.tokens(), ["t1"]);
    assert_eq!(other.tokens(), [""]);
    assert_eq!(endpoint.token_requests(), 1);
}

/// Promise: S1
#[tokio::test(start_paused = true)]
async fn a_redirect_followed_above_is_a_request_of_its_own_which_origins_keeps_the_token_from() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (api, other) = (Api::accepting(["t1"]), Api::default());
    let layer = BearerAuthLayer::new(endpoint.credentials());

    let pinned = layer.clone().select(only_api()).layer(web(&api, &other));
    let service = FollowRedirectLayer::new().layer(pinned);
    let response = service.oneshot(get("/to/other.test/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(api.tokens(), ["t1"]);
    assert_eq!(other.tokens(), [""]);

    // Which is why `Always` is for clients that talk to one API only.
    let always = layer.layer(web(&api, &other));
    let service = FollowRedirectLayer::new().layer(always);
    let response = service.oneshot(get("/to/other.test/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(other.tokens(), ["", "t1"]);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_followed_above_forgets_no_token_at_another_origin_unless_its_policy_lets_it_pass()
 {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let (api, other) = (Api::accepting(["t1"]), Api::default());
    let layer = BearerAuthLayer::new(endpoint.credentials()).select(only_api());
    let bare = || {
        let mut request = get("/to/api.test/");
        *request.uri_mut() = "https://other.test/to/api.test/".parse().unwrap();
        request.extensions_mut().insert(NoToken);
        request
    };

    let standard = FollowRedirectLayer::new().layer(layer.layer(web(&api, &other)));
    standard.oneshot(bare()).await.unwrap();
    assert_eq!(api.tokens(), ["t1"]);

    let filter = FilterCredentials::new().allow_extension::<NoToken>();
    let policy = Limited::default().and::<_, Body, BoxError>(filter);
    let lenient = FollowRedirectLayer::with_policy(policy).layer(layer.layer(web(&api, &other)));
    lenient.oneshot(bare()).await.unwrap();
    assert_eq!(api.tokens(), ["t1", ""]);
}

/// Promise: F2
#[tokio::test(start_paused = true)]
async fn a_timeout_above_ends_the_request_and_not_the_token_request() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let api = Api::accepting(["t1"]);
    let layer = BearerAuthLayer::new(endpoint.credentials());
    let started = Instant::now();

    let of_tower = ServiceBuilder::new()
        .timeout(SECOND * 2)
        .layer(layer.clone())
        .service(api.service());
    let error = of_tower.clone().oneshot(get("/")).await.unwrap_err();
    assert!(error.is::<Elapsed>());
    assert_eq!(started.elapsed(), SECOND * 2);

    let of_tower_http = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            SECOND * 2,
        ))
        .layer(layer)
        .service(api.service());
    let response = of_tower_http.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(started.elapsed(), SECOND * 4);

    let response = of_tower.oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(started.elapsed(), SECOND * 5);
    assert_eq!(endpoint.token_requests(), 1);
    assert_eq!(api.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_counts_each_call_alone_and_no_wait_for_a_token() {
    let endpoint = TokenEndpoint::healthy(SECOND * 5);
    let api = Api::accepting(["t2"]);
    let service = ServiceBuilder::new()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .timeout(SECOND * 4)
        .service(slow(&api, |_| SECOND * 3));
    let started = Instant::now();

    let response = service.oneshot(get("/")).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(api.tokens(), ["t1", "t2"]);
    assert_eq!(started.elapsed(), SECOND * (5 + 3 + 5 + 3));
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_held_while_the_token_is_awaited_unless_a_buffer_is_between() {
    let endpoint = || TokenEndpoint::healthy(SECOND).credentials();
    let api = || Api::accepting(["t1"]).service();

    let below = ServiceBuilder::new()
        .load_shed()
        .layer(BearerAuthLayer::new(endpoint()))
        .concurrency_limit(1)
        .service(api());
    assert!(sheds_who_comes_while_another_waits_for_the_token(below).await);

    let above = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(BearerAuthLayer::new(endpoint()))
        .service(api());
    assert!(sheds_who_comes_while_another_waits_for_the_token(above).await);

    let below_a_buffer = ServiceBuilder::new()
        .load_shed()
        .layer(BearerAuthLayer::new(endpoint()))
        .buffer(2)
        .concurrency_limit(1)
        .service(api());
    assert!(!sheds_who_comes_while_another_waits_for_the_token(below_a_buffer).await);
}

/// What retries are sent by is kept from the first request on, and takes nothing from others.
///
/// Promise: R11
#[tokio::test(start_paused = true)]
async fn a_request_holds_one_permit_and_leaves_none_behind() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let limited = ConcurrencyLimit::new(slow(&api, |_| SECOND), 2);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited.clone());
    // The first one waits for the token, and the second has it.
    for _ in 0..2 {
        let mut response = task::spawn(service.ready().await.unwrap().call(get("/")));
        assert_pending!(response.poll());
        settle().await;
        assert_pending!(response.poll());
        assert_eq!(free(&limited, 2), 1);
        assert_eq!(response.await.unwrap().status(), 200);
        assert_eq!(free(&limited, 2), 2);
    }
    // A retry has the permit of the first attempt, which is over.
    let limited = ConcurrencyLimit::new(api.service(), 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(limited.clone());
    api.accept_only(["t2", "t3"]);
    for _ in 0..2 {
        let response = service.ready().await.unwrap().call(get("/")).await;
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(free(&limited, 1), 1);
        api.accept_only(["t3"]);
    }
    assert_eq!(endpoint.token_requests(), 3);
}

/// Promise: R11
#[tokio::test(start_paused = true)]
async fn requests_take_one_place_of_a_buffer_and_one_turn_of_a_rate_limit_each() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let buffered = ServiceBuilder::new()
        .buffer::<Request<Body>>(1)
        .rate_limit(3, SECOND * 60)
        .service(api.service());
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(buffered.clone());
    let started = Instant::now();
    for turn in 0..4 {
        let response = service.ready().await.unwrap().call(get("/")).await;
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(started.elapsed() >= SECOND * 60, turn == 3, "turn {turn}");
        assert_eq!(free(&buffered, 1), 1);
    }
}

/// A buffer's worker, and tonic's channel with it, ends when its last handle is gone.
#[tokio::test(start_paused = true)]
async fn dropping_the_last_service_and_the_last_request_drops_what_is_below() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let api = Api::accepting(["t1"]);
    let below = Arc::new(());
    let alive = Arc::downgrade(&below);
    let inner = slow(&api, |_| SECOND);
    let counted = service_fn(move |request| {
        let _below = &below;
        inner.clone().oneshot(request)
    });
    let buffered: Buffer<Request<Body>, _> = Buffer::new(counted, 1);
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(buffered);
    let call = service.ready().await.unwrap().call(get("/"));
    assert_eq!(call.await.unwrap().status(), 200);

    let mut other = service.clone();
    drop(service);
    let call = other.ready().await.unwrap().call(get("/"));
    drop(other);
    settle().await;
    assert!(alive.upgrade().is_some(), "a request is under way");
    assert_eq!(call.await.unwrap().status(), 200);
    settle().await;
    assert!(alive.upgrade().is_none(), "nothing is under way");
}

/// Promise: R11
#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_service_that_took_the_place_of_another() {
    let endpoint = TokenEndpoint::healthy(Duration::ZERO);
    let [before, after] = [Api::accepting(["t1"]), Api::accepting(["t2"])];
    let mut service = BearerAuthLayer::new(endpoint.credentials()).layer(before.service());
    let call = service.ready().await.unwrap().call(get("/"));
    assert_eq!(call.await.unwrap().status(), 200);
    *service.get_mut() = after.service();
    let call = service.ready().await.unwrap().call(get("/"));
    assert_eq!(call.await.unwrap().status(), 200);
    assert_eq!(before.tokens(), ["t1"]);
    assert_eq!(after.tokens(), ["t1", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_request_that_needs_the_permit_of_a_request_waiting_for_it_ends_at_its_own_deadline()
 {
    // Both servers behind one client.
    let token_requests = Arc::new(AtomicUsize::new(0));
    let api = Api::accepting(["t1"]);
    let client = {
        let (token_requests, api) = (Arc::clone(&token_requests), api.clone());
        service_fn(move |request: Request<Body>| {
            let (token_requests, api) = (Arc::clone(&token_requests), api.clone());
            async move {
                Ok::<_, Infallible>(if request.uri().host() == Some("auth.test") {
                    token_requests.fetch_add(1, SeqCst);
                    token("t1", 3600)
                } else {
                    api.handle(request).await
                })
            }
        })
    };
    let credentials = || ClientCredentials::builder("https://auth.test/token", "id", "secret");
    let limited = ConcurrencyLimit::new(client.clone(), 1);
    let started = Instant::now();

    let shared = credentials().build_with(limited.clone()).unwrap();
    let service = BearerAuthLayer::new(shared).layer(limited.clone());
    let error = service.oneshot(get("/")).await.unwrap_err();
    let kind = error.downcast::<Error>().unwrap().kind();
    assert_eq!(kind, ErrorKind::Timeout);
    assert_eq!(started.elapsed(), SECOND * 10);
    assert_eq!((token_requests.load(SeqCst), api.calls().len()), (0, 0));

    // A transport of its own, or the limit above, where the token request does not come by it.
    let own = || credentials().build_with(client.clone()).unwrap();
    let below = BearerAuthLayer::new(own()).layer(limited);
    let above = ConcurrencyLimit::new(BearerAuthLayer::new(own()).layer(client.clone()), 1);
    assert_eq!(below.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(above.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(started.elapsed(), SECOND * 10);
}

#[tokio::test(start_paused = true)]
async fn a_load_shed_below_sheds_retries_and_one_above_lets_them_wait() {
    let busy = |api: &Api| slow(api, |path| SECOND * if path == "/slow" { 60 } else { 0 });

    let (endpoint, api) = (TokenEndpoint::healthy(SECOND), Api::accepting(["t2"]));
    let below = ServiceBuilder::new()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .load_shed()
        .concurrency_limit(1)
        .service(busy(&api));
    let error = rejected_while_another_takes_the_permit(below).await;
    assert!(error.unwrap_err().is::<Overloaded>());
    assert_eq!(api.tokens(), ["t1", ""]);

    let (endpoint, api) = (TokenEndpoint::healthy(SECOND), Api::accepting(["t2"]));
    let above = ServiceBuilder::new()
        .load_shed()
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .concurrency_limit(1)
        .service(busy(&api));
    let response = rejected_while_another_takes_the_permit(above).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(api.tokens(), ["t1", "", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_layer_comes_through_a_buffer_above_as_it_is() {
    let endpoint = TokenEndpoint::new(|_| async { answer(400, r#"{"error":"invalid_client"}"#) });
    let service = ServiceBuilder::new()
        .buffer::<Request<Body>>(1)
        .layer(BearerAuthLayer::new(endpoint.credentials()))
        .service(Api::default().service());

    // The second finds the worker as alive as the first.
    for _ in 0..2 {
        let error = service.clone().oneshot(get("/")).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.oauth_code(), Some("invalid_client"));
    }
}

/// Promise: S4
#[tokio::test(start_paused = true)]
async fn a_trace_above_sees_no_token_and_one_below_a_hidden_one_on_each_call() {
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let trace =
        TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true));
    let layer = || {
        let endpoint = TokenEndpoint::new(|post| async move {
            let name = ["hush-first", "hush-second"][post - 1];
            token(name, 3600)
        });
        BearerAuthLayer::new(endpoint.credentials())
    };
    let api = Api::accepting(["hush-second"]);
    let calls = |told: &str| told.matches("started processing request").count();

    let above = trace.clone().layer(layer().layer(api.service()));
    above.oneshot(get("/")).await.unwrap();
    let heard = told.take();
    assert_eq!(calls(&heard), 1);
    assert!(!heard.contains("authorization"), "{heard}");

    let below = layer().layer(trace.layer(api.service()));
    below.oneshot(get("/")).await.unwrap();
    let heard = told.take();
    assert_eq!(calls(&heard), 2);
    assert!(heard.contains(r#""authorization": Sensitive"#), "{heard}");
    assert!(!heard.contains("hush"), "{heard}");
}

/// Sends a request up to twice more, so long after each answer (or error: `None`) that is of this kind.
fn twice_more(after: Duration, when: fn(Option<u16>) -> bool) -> RetryLayer<Again> {
    RetryLayer::new(Again {
        left: 2,
        after,
        when,
    })
}

#[derive(Clone)]
struct Again {
    left: usize,
    after: Duration,
    when: fn(Option<u16>) -> bool,
}

impl<E> Policy<Request<Body>, Response<Body>, E> for Again {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<Body>, E>,
    ) -> Option<Sleep> {
        let status = result.as_ref().ok().map(|answer| answer.status().as_u16());
        if !(self.when)(status) {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        Some(sleep(self.after))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// An authorization server whose tokens are good for a minute.
fn short_lived() -> TokenEndpoint {
    TokenEndpoint::new(|post| async move { token(&format!("t{post}"), 60) })
}

fn only_api() -> Origins {
    Origins::new(["https://api.test"]).unwrap()
}

/// The API, which has no time for its first call.
fn busy_at_first(api: &Api) -> impl HttpService<Error = Infallible> + use<> {
    let api = api.clone();
    service_fn(move |request| {
        let busy = api.calls().is_empty();
        let answered = api.clone().handle(request);
        async move {
            let answered = answered.await;
            Ok::<_, Infallible>(if busy { answer(503, "") } else { answered })
        }
    })
}

/// The API, which takes so long for a path.
/// How many requests of so many could be sent now.
fn free<S: Service<Request<Body>> + Clone>(service: &S, of: usize) -> usize {
    let mut services: Vec<_> = (0..of).map(|_| service.clone()).collect();
    let is_free = |service: &mut S| task::spawn(service.ready()).poll().is_ready();
    let are_free = services.iter_mut().map(is_free);
    are_free.filter(|is_free| *is_free).count()
}

fn slow(api: &Api, by: fn(&str) -> Duration) -> impl HttpService<Error = Infallible> + use<> {
    let api = api.clone();
    service_fn(move |request: Request<Body>| {
        let by = by(request.uri().path());
        let answered = api.clone().handle(request);
        async move {
            let answered = answered.await;
            sleep(by).await;
            Ok::<_, Infallible>(answered)
        }
    })
}

/// The API at `api.test`, and another server at `other.test` that is open to everyone but for its path `/closed`. Both
/// redirect `/to/…` there.
fn web(api: &Api, other: &Api) -> impl HttpService<Error = Infallible> + use<> {
    let (api, other) = (api.clone(), other.clone());
    service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let is_other = request.uri().host() == Some("other.test");
        let server = if is_other { &other } else { &api };
        let answered = server.clone().handle(request);
        async move {
            let answered = answered.await;
            let Some(target) = path.strip_prefix("/to/") else {
                let open = is_other && path != "/closed";
                return Ok::<_, Infallible>(if open { answer(200, "") } else { answered });
            };
            let mut redirect = answer(307, "");
            let target = format!("https://{target}").parse().unwrap();
            redirect.headers_mut().insert(LOCATION, target);
            Ok(redirect)
        }
    })
}

/// Whether a stack sheds a second request as long as the first is waiting for the token.
async fn sheds_who_comes_while_another_waits_for_the_token(
    service: impl HttpService<Error = BoxError>,
) -> bool {
    let waiting = tokio::spawn(service.clone().oneshot(get("/")));
    settle().await;
    let second = service.oneshot(get("/")).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    match second {
        Ok(response) => {
            assert_eq!(response.status(), 200);
            false
        }
        Err(error) => error.is::<Overloaded>(),
    }
}

/// What becomes of a request that is rejected, if another takes the one permit while the token is replaced.
async fn rejected_while_another_takes_the_permit(
    service: impl HttpService<Error = BoxError>,
) -> Result<Response<Body>, BoxError> {
    let rejected = tokio::spawn(service.clone().oneshot(get("/")));
    // The first token request is over, and the second half done.
    sleep(SECOND * 3 / 2).await;
    let mut request = get("/slow");
    request.extensions_mut().insert(NoToken);
    let other = tokio::spawn(service.oneshot(request));
    let outcome = rejected.await.unwrap();
    assert_eq!(text(other.await.unwrap().unwrap()).await, "call 2");
    outcome
}

/// A service of HTTP requests that can be cloned and sent anywhere.
trait HttpService:
    Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What was traced.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *lock(&self.0))).unwrap()
    }
}

impl io::Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
