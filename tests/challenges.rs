//! What an API asks for by a challenge, and a source that was told to answer it: claims (continuous access evaluation) and
//! scopes (step-up), in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::{BodyExt, Full};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, ErrorKind, TokenCache,
    client_credentials::ClientCredentialsBuilder, extension::NotRetried, replay::NoReplay,
};

use self::support::{ApiService, Body, answer, bearer, get, lock, settle, token};

const SECOND: Duration = Duration::from_secs(1);

/// What Entra ID's documentation shows, but for the time.
const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;

/// The parameters of a token request.
type Form = Vec<(String, String)>;

/// An authorization server that gives `t1`, `t2`, … for a minute, unless `denies` has an error for what is asked.
#[derive(Clone)]
struct Authority {
    forms: Arc<Mutex<Vec<Form>>>,
    denies: fn(scope: &str, claims: bool) -> Option<&'static str>,
}

impl Authority {
    fn new() -> Self {
        Self::denying(|_, _| None)
    }

    fn denying(denies: fn(&str, bool) -> Option<&'static str>) -> Self {
        Self {
            forms: Arc::default(),
            denies,
        }
    }

    fn cache(
        &self,
        set_up: impl Fn(ClientCredentialsBuilder) -> ClientCredentialsBuilder,
    ) -> TokenCache {
        let this = self.clone();
        let transport = service_fn(move |request: Request<Full<Bytes>>| {
            let this = this.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let form: Form = url::form_urlencoded::parse(&body).into_owned().collect();
                let scope = value(&form, "scope").unwrap_or_default();
                let denied = (this.denies)(&scope, value(&form, "claims").is_some());
                let mut forms = lock(&this.forms);
                forms.push(form);
                Ok::<_, Infallible>(match denied {
                    Some(code) => answer(400, &format!(r#"{{"error":"{code}"}}"#)),
                    None => token(&format!("t{}", forms.len()), 60),
                })
            }
        });
        let builder = ClientCredentials::builder("https://auth.test/token", "id", "secret");
        let source = set_up(builder.scope("read")).build_with(transport);
        TokenCache::new(source.unwrap())
    }

    fn token_requests(&self) -> usize {
        lock(&self.forms).len()
    }

    /// What each token request asked for by this parameter.
    fn asked(&self, name: &str) -> Vec<Option<String>> {
        lock(&self.forms).iter().map(|it| value(it, name)).collect()
    }
}

/// The one value of this parameter.
fn value(form: &[(String, String)], name: &str) -> Option<String> {
    let mut values = form.iter().filter(|(other, _)| other == name);
    let found = values.next().map(|(_, value)| value.clone());
    assert!(values.next().is_none(), "{name} twice: {form:?}");
    found
}

fn claims_challenge(claims: &str) -> String {
    let claims = BASE64_STANDARD.encode(claims);
    format!(
        r#"Bearer realm="", authorization_uri="https://login.test/authorize", error="insufficient_claims", claims="{claims}""#
    )
}

fn scope_challenge(scopes: &str) -> String {
    format!(r#"Bearer error="insufficient_scope", scope="{scopes}", resource_metadata="https://x""#)
}

fn challenging(status: u16, challenge: &str) -> Response<Body> {
    let mut response = answer(status, "the first answer");
    let challenge = HeaderValue::from_str(challenge).unwrap();
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// An API that answers all tokens so but for these, and the tokens that came.
fn api<const N: usize>(
    status: u16,
    challenge: &str,
    accepted: [&'static str; N],
) -> (ApiService, Arc<Mutex<Vec<String>>>) {
    let came = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&came);
    let challenge = challenge.to_owned();
    let service = BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let token = bearer(request.headers()).unwrap();
        let is_good = accepted.contains(&&*token) || request.uri().path() == "/healthy";
        lock(&log).push(token);
        ready(Ok(match is_good {
            true => answer(200, ""),
            false => challenging(status, &challenge),
        }))
    }));
    (service, came)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

mod claims {
    //! Continuous access evaluation.

    use super::*;

    fn answering(builder: ClientCredentialsBuilder) -> ClientCredentialsBuilder {
        builder.answer_claims_challenges()
    }

    /// Promise: R1
    #[tokio::test(start_paused = true)]
    async fn the_claims_of_a_challenge_are_sent_with_the_next_token_request_and_no_other() {
        let authority = Authority::new();
        let cache = authority.cache(answering);
        let (api, came) = api(401, &claims_challenge(CLAIMS), ["t2"]);
        let service = BearerAuthLayer::from_cache(cache.clone()).layer(api);

        let response = service.oneshot(get("/")).await.unwrap();

        assert_eq!(response.status(), 200);
        assert_eq!(*lock(&came), ["t1", "t2"]);
        cache.refresh().await.unwrap();
        assert_eq!(authority.asked("claims"), [None, some(CLAIMS), None]);
    }

    /// The default: no token request that cannot help.
    ///
    /// Promise: R8
    #[tokio::test(start_paused = true)]
    async fn a_claims_challenge_that_nobody_answers_causes_no_token_request() {
        let authority = Authority::new();
        let cache = authority.cache(|builder| builder);
        let (api, came) = api(401, &claims_challenge(CLAIMS), []);
        let service = BearerAuthLayer::from_cache(cache).layer(api);
        for _ in 0..100 {
            let response = service.clone().oneshot(get("/")).await.unwrap();
            assert_eq!(response.status(), 401);
            assert_eq!(support::text(response).await, "the first answer");
        }
        assert_eq!((authority.token_requests(), lock(&came).len()), (1, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn claims_of_the_builder_are_kept_and_those_of_the_challenge_are_added() {
        let own = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
        let both = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"},"xms_cc":{"values":["cp1"]}}}"#;
        for (challenge, sent) in [
            (CLAIMS, both),
            // What the builder was told is not the API's to change.
            (
                r#"{"access_token":{"xms_cc":null},"id_token":{}}"#,
                r#"{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{}}"#,
            ),
            (r#"{"access_token":7}"#, own),
        ] {
            let authority = Authority::new();
            let cache = authority.cache(|builder| answering(builder.param("claims", own)));
            let (api, _) = api(401, &claims_challenge(challenge), ["t2"]);
            let service = BearerAuthLayer::from_cache(cache).layer(api);
            service.oneshot(get("/")).await.unwrap();
            assert_eq!(authority.asked("claims"), [some(own), some(sent)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_challenge_without_claims_that_can_be_read_causes_no_token_request() {
        let claims = BASE64_STANDARD.encode(CLAIMS);
        for challenge in [
            r#"Bearer error="insufficient_claims""#,
            r#"Bearer error="insufficient_claims", claims="""#,
            r#"Bearer error="insufficient_claims", claims="%%%""#,
            &claims_challenge("[]"),
            &claims_challenge("{"),
            &format!(r#"Bearer error="insufficient_scope", claims="{claims}""#),
        ] {
            let authority = Authority::new();
            let (api, _) = api(401, challenge, []);
            let service = BearerAuthLayer::from_cache(authority.cache(answering)).layer(api);
            assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 401);
            assert_eq!(authority.token_requests(), 1, "{challenge}");
        }
    }

    /// Base64url, and without its padding.
    #[tokio::test(start_paused = true)]
    async fn claims_are_read_in_either_base64() {
        let claims = r#"{"a":"???>>>"}"#;
        let standard = BASE64_STANDARD.encode(claims);
        assert!(standard.contains('/') && standard.contains('+') && standard.ends_with('='));
        let url_safe = standard
            .replace('/', "_")
            .replace('+', "-")
            .replace('=', "");
        for encoded in [standard, url_safe] {
            let challenge = format!(r#"bearer claims="{encoded}" error=insufficient_claims"#);
            let authority = Authority::new();
            let (api, _) = api(401, &challenge, ["t2"]);
            let service = BearerAuthLayer::from_cache(authority.cache(answering)).layer(api);
            assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
            assert_eq!(authority.asked("claims")[1], some(claims));
        }
    }

    /// Promise: R5, R6
    #[tokio::test(start_paused = true)]
    async fn an_api_that_always_asks_for_claims_costs_few_token_requests_and_no_third_call() {
        let authority = Authority::new();
        let (api, came) = api(401, &claims_challenge(CLAIMS), []);
        let cache = authority.cache(answering);
        let service = BearerAuthLayer::from_cache(cache).layer(api);
        let requests = 36_000;
        for _ in 0..requests {
            let call = tokio::spawn(service.clone().oneshot(get("/")));
            advance(SECOND / 10).await;
            assert_eq!(call.await.unwrap().unwrap().status(), 401);
        }
        // Those of the challenges, beside the refreshes of tokens that last a minute.
        let asked = authority.asked("claims");
        let for_claims = asked.iter().flatten().count();
        assert!((3..=24).contains(&for_claims), "{for_claims}");
        // A retry has another token than its first try, be it from a refresh.
        let retries = lock(&came).len() - requests;
        assert!(retries <= authority.token_requests(), "{retries}");
    }

    #[test]
    fn claims_of_the_builder_that_are_no_object_are_an_error() {
        let builder = || ClientCredentials::builder("https://auth.test/token", "id", "secret");
        let transport =
            || service_fn(|_: Request<Full<Bytes>>| ready(Ok::<_, Infallible>(answer(200, ""))));
        let odd = builder().param("claims", "cp1");
        assert!(odd.clone().build_with(transport()).is_ok());
        let error = odd
            .answer_claims_challenges()
            .build_with(transport())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("claims"), "{error}");
    }
}

mod step_up {
    //! Scopes that an API asks for.

    use super::*;

    fn allowing(builder: ClientCredentialsBuilder) -> ClientCredentialsBuilder {
        builder.step_up_scopes(["write", "delete"])
    }

    /// Promise: R1
    #[tokio::test(start_paused = true)]
    async fn scopes_that_an_api_asks_for_are_requested_and_stay() {
        let bearer = scope_challenge("write read");
        // As APIs ask whose tokens are bound to a key.
        let dpop = bearer.replace("Bearer", "DPoP");
        for (status, challenge) in [(403, &bearer), (401, &bearer), (403, &dpop)] {
            let authority = Authority::new();
            let cache = authority.cache(allowing);
            let (api, came) = api(status, challenge, ["t2"]);
            let service = BearerAuthLayer::from_cache(cache.clone()).layer(api);

            let response = service.oneshot(get("/")).await.unwrap();

            assert_eq!(response.status(), 200);
            assert_eq!(*lock(&came), ["t1", "t2"]);
            // Else a refresh would lose them.
            cache.refresh().await.unwrap();
            let asked = [some("read"), some("read write"), some("read write")];
            assert_eq!(authority.asked("scope"), asked);
        }
    }

    /// The default, and what a challenge cannot have asked for.
    ///
    /// Promise: R8
    #[tokio::test(start_paused = true)]
    async fn no_scope_is_requested_that_is_not_allowed() {
        type SetUp = fn(ClientCredentialsBuilder) -> ClientCredentialsBuilder;
        let cases: [(SetUp, String); 9] = [
            (|builder| builder, scope_challenge("write")),
            (|it| it.answer_claims_challenges(), scope_challenge("write")),
            (allowing, scope_challenge("admin")),
            // It would fail without the other all the same.
            (allowing, scope_challenge("write admin")),
            (allowing, scope_challenge("")),
            (allowing, scope_challenge("read")),
            (allowing, r#"Bearer error="insufficient_scope""#.to_owned()),
            (
                allowing,
                r#"Basic error="insufficient_scope", scope="write""#.to_owned(),
            ),
            (allowing, claims_challenge(CLAIMS)),
        ];
        for (set_up, challenge) in cases {
            let authority = Authority::new();
            let (api, came) = api(403, &challenge, []);
            let service = BearerAuthLayer::from_cache(authority.cache(set_up)).layer(api);
            for _ in 0..10 {
                let response = service.clone().oneshot(get("/")).await.unwrap();
                assert_eq!(response.status(), 403);
            }
            let counts = (authority.token_requests(), lock(&came).len());
            assert_eq!(counts, (1, 10), "{challenge}");
        }
    }

    /// Promise: R5
    #[tokio::test(start_paused = true)]
    async fn a_scope_that_was_requested_and_does_not_help_is_not_requested_again() {
        let authority = Authority::new();
        let (api, came) = api(403, &scope_challenge("write"), []);
        let service = BearerAuthLayer::from_cache(authority.cache(allowing)).layer(api);
        // Longer than the first steps of the cool-down, and shorter than a token lasts.
        for _ in 0..40 {
            let response = service.clone().oneshot(get("/")).await.unwrap();
            assert_eq!(response.status(), 403);
            sleep(SECOND).await;
        }
        let counts = (authority.token_requests(), lock(&came).len());
        assert_eq!(counts, (2, 41));
    }

    /// Promise: R3
    #[tokio::test(start_paused = true)]
    async fn a_straggler_is_retried_with_the_wider_token_and_costs_no_token_request() {
        let authority = Authority::new();
        let (api, came) = api(403, &scope_challenge("write"), ["t2"]);
        let slow = service_fn(move |request: Request<Body>| {
            let is_slow = request.uri().path() == "/slow";
            let answer = api.clone().oneshot(request);
            async move {
                let answer = answer.await;
                if is_slow && answer.as_ref().unwrap().status() == StatusCode::FORBIDDEN {
                    sleep(SECOND * 5).await;
                }
                answer
            }
        });
        let service = BearerAuthLayer::from_cache(authority.cache(allowing)).layer(slow);
        let straggler = tokio::spawn(service.clone().oneshot(get("/slow")));
        settle().await;
        assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
        assert_eq!(straggler.await.unwrap().unwrap().status(), 200);
        assert_eq!(authority.token_requests(), 2);
        assert_eq!(*lock(&came), ["t1", "t1", "t2", "t2"]);
    }

    /// It is the API that has the client ask for it. The tokens that there are without it are not its to take away.
    ///
    /// Promise: R6, L3
    #[tokio::test(start_paused = true)]
    async fn scopes_that_are_denied_take_no_token_away_and_cost_few_token_requests() {
        let authority =
            Authority::denying(|scope, _| scope.contains("write").then_some("invalid_scope"));
        let cache = authority.cache(allowing);
        let (api, _) = api(403, &scope_challenge("write"), []);
        let service = BearerAuthLayer::from_cache(cache.clone()).layer(api);
        for _ in 0..36_000 {
            let asking = tokio::spawn(service.clone().oneshot(get("/")));
            let healthy = tokio::spawn(service.clone().oneshot(get("/healthy")));
            advance(SECOND / 10).await;
            assert_eq!(asking.await.unwrap().unwrap().status(), 403);
            assert_eq!(healthy.await.unwrap().unwrap().status(), 200);
            assert!(cache.state().error().is_none());
        }
        let asked = authority.asked("scope");
        let wider = asked.iter().filter(|it| **it == some("read write")).count();
        assert!((3..=24).contains(&wider), "{wider}");
    }

    /// Promise: L11
    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_denied_is_not_asked_for_less() {
        let authority =
            Authority::denying(|scope, _| scope.contains("write").then_some("invalid_client"));
        let (api, _) = api(403, &scope_challenge("write"), []);
        let service = BearerAuthLayer::from_cache(authority.cache(allowing)).layer(api);
        let response = service.oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 403);
        let reason = response.extensions().get();
        assert_eq!(reason, Some(&NotRetried::TokenRequestFailed));
        assert_eq!(authority.token_requests(), 2);
    }

    /// A challenge says that the API knows the token: it does not give way to the one before it.
    ///
    /// Promise: R16
    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_refreshed_just_now_steps_up_at_once() {
        let authority = Authority::new();
        let cache = authority.cache(allowing);
        let (api, came) = api(403, &scope_challenge("write"), ["t3"]);
        let service = BearerAuthLayer::from_cache(cache.clone()).layer(api);
        service.clone().oneshot(get("/healthy")).await.unwrap();
        cache.refresh().await.unwrap();
        let response = service.oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(*lock(&came), ["t1", "t2", "t3"]);
    }

    /// Promise: B3, R18
    #[tokio::test(start_paused = true)]
    async fn a_request_that_cannot_be_replayed_says_so_and_the_next_one_has_the_wider_token() {
        let authority = Authority::new();
        let (api, came) = api(403, &scope_challenge("write"), ["t2"]);
        let layer = BearerAuthLayer::from_cache(authority.cache(allowing)).replay(NoReplay);
        let service = layer.layer(api);
        let response = service.clone().oneshot(get("/")).await.unwrap();
        assert_eq!(response.status(), 403);
        let reason = response.extensions().get();
        assert_eq!(reason, Some(&NotRetried::CannotBeReplayed));
        assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
        assert_eq!(*lock(&came), ["t1", "t2"]);
        assert_eq!(authority.asked("scope"), [some("read"), some("read write")]);
    }

    #[test]
    fn a_scope_to_step_up_to_is_checked_as_any() {
        let builder = ClientCredentials::builder("https://auth.test/token", "id", "secret");
        let transport =
            service_fn(|_: Request<Full<Bytes>>| ready(Ok::<_, Infallible>(answer(200, ""))));
        let error = builder.step_up_scopes(["a b"]).build_with(transport);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Configuration);
    }
}
