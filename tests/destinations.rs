//! Where a token may go, and what becomes of a request that must not have one.

#![allow(clippy::unwrap_used)]

#[path = "support/endpoint.rs"]
mod endpoint;
mod support;

use std::{cell::Cell, time::Duration};

use bytes::Bytes;
use endpoint::{Endpoint, answer};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, Uri,
    header::{AUTHORIZATION, COOKIE},
};
use http_body_util::Full;
use proptest::prelude::*;
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_bearer::{
    BearerAuthLayer, ClientCredentials, Error, ErrorKind,
    adapter::tonic::GrpcAuthLayer,
    extension::NoToken,
    replay::NoReplay,
    select::{Always, ExistingAuthorization, Origins, RequestHead, Select},
    token::FixedToken,
};

use self::support::TokenEndpoint;

const TOKEN: &str = "Bearer ory_at_4jSH.k2dW";

fn fixed() -> FixedToken {
    FixedToken::new("ory_at_4jSH.k2dW").unwrap()
}

fn layer() -> BearerAuthLayer {
    BearerAuthLayer::new(fixed())
}

fn pinned() -> BearerAuthLayer<Origins> {
    layer().select(Origins::new(["https://api.example.com"]).unwrap())
}

/// An API whose answers have these statuses, the last one for ever.
fn api(statuses: impl IntoIterator<Item = u16>) -> Endpoint {
    Endpoint::new(statuses.into_iter().map(|status| answer(status, &[], "")))
}

fn to(uri: &str) -> Request<Bytes> {
    Request::post(uri)
        .body(Bytes::from_static(b"body"))
        .unwrap()
}

fn with_own(uri: &str, own: &[&'static str]) -> Request<Bytes> {
    let mut request = to(uri);
    for value in own {
        let value = HeaderValue::from_static(value);
        request.headers_mut().append(AUTHORIZATION, value);
    }
    request
}

/// The `Authorization` values of each request that was sent.
async fn sent<Sel: Select<Key = ()> + Clone>(
    layer: &BearerAuthLayer<Sel>,
    request: Request<Bytes>,
) -> Vec<Vec<String>> {
    let api = api([200]);
    layer.layer(api.clone()).oneshot(request).await.unwrap();
    authorizations(&api)
}

fn authorizations(api: &Endpoint) -> Vec<Vec<String>> {
    let values = |request: &Request<Bytes>| {
        let values = request.headers().get_all(AUTHORIZATION).iter();
        values.map(|it| it.to_str().unwrap().to_owned()).collect()
    };
    api.requests().iter().map(values).collect()
}

/// What the caller is told of a request that is not sent.
async fn rejected<Sel: Select<Key = ()> + Clone>(
    layer: &BearerAuthLayer<Sel>,
    request: Request<Bytes>,
) -> Error {
    let api = api([200]);
    let told = layer.layer(api.clone()).oneshot(request).await;
    let error: Box<Error> = told.unwrap_err().downcast().unwrap();
    assert_eq!(api.requests().len(), 0);
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    assert!(!error.is_transient());
    *error
}

mod in_the_clear {
    //! S2: a token is not sent where it can be read on its way.

    use super::*;

    /// Promise: S2, S6
    #[tokio::test(start_paused = true)]
    async fn over_plain_http_to_another_machine_nothing_is_sent_and_nothing_is_requested() {
        for uri in [
            "http://api.example.com/orders",
            "HTTP://api.example.com/orders",
            "http://api.example.com:443/orders",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://localhost./",
            "http://localhost.evil.test/",
            "http://localhost@evil.test/",
            "http://127.0.0.1@evil.test/",
            "http://127.0.0.1.evil.test/",
            "http://[::ffff:127.0.0.1]/",
            "ws://api.example.com/",
            "WS://api.example.com/",
            "h2c://api.example.com/",
            "unheard-of://api.example.com/",
        ] {
            let endpoint = Endpoint::new([answer(200, &[], "")]);
            let credentials =
                ClientCredentials::builder("https://auth.example.com/token", "id", "secret")
                    .build_with(endpoint.clone())
                    .unwrap();
            let error = rejected(&BearerAuthLayer::new(credentials), to(uri)).await;
            let told = error.to_string();
            assert!(
                told.contains("danger_allow_tokens_over_plain_http"),
                "{told}"
            );
            assert_eq!(endpoint.posts(), 0, "{uri}");
        }
    }

    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn a_token_goes_over_tls_to_loopback_and_where_the_connection_was_chosen_already() {
        for uri in [
            "https://api.example.com/orders",
            "wss://api.example.com/",
            "http://localhost:8080/",
            "http://LOCALHOST/",
            "http://127.0.0.1/",
            "http://127.8.9.10:1/",
            "http://[::1]:8080/",
            "/orders",
            "*",
        ] {
            assert_eq!(sent(&layer(), to(uri)).await, [[TOKEN]], "{uri}");
        }
    }

    /// A scheme that is made by hand keeps its letters, and other parsers do not mind them.
    ///
    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn a_scheme_is_plain_http_in_any_case_of_letters() {
        for (scheme, is_sent) in [
            ("HTTP", false),
            ("Http", false),
            ("HTTPS", true),
            ("WSS", true),
        ] {
            let uri = Uri::builder()
                .scheme(scheme)
                .authority("api.example.com")
                .path_and_query("/");
            let mut request = to("/");
            *request.uri_mut() = uri.build().unwrap();
            match is_sent {
                true => assert_eq!(sent(&layer(), request).await, [[TOKEN]], "{scheme}"),
                false => drop(rejected(&layer(), request).await),
            }
        }
    }

    /// Promise: S1, S2
    #[tokio::test(start_paused = true)]
    async fn a_tunnels_proxy_gets_no_token() {
        let connect = || {
            let mut request = to("api.example.com:443");
            *request.method_mut() = Method::CONNECT;
            request
        };
        assert_eq!(sent(&layer(), connect()).await, [[""; 0]]);
        rejected(&layer().deny_unselected(), connect()).await;
    }

    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn the_long_name_allows_it() {
        let layer = layer().danger_allow_tokens_over_plain_http();
        let request = to("http://orders.shop.svc.cluster.local/");
        assert_eq!(sent(&layer, request).await, [[TOKEN]]);
    }

    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn an_http_origin_that_is_pinned_is_no_permission() {
        let origins = Origins::new(["http://api.example.com"]).unwrap();
        let layer = layer().select(origins);
        rejected(&layer, to("http://api.example.com/")).await;

        let layer = layer.danger_allow_tokens_over_plain_http();
        assert_eq!(sent(&layer, to("http://api.example.com/")).await, [[TOKEN]]);
        assert_eq!(sent(&layer, to("http://example.com/")).await, [[""; 0]]);
    }

    /// Promise: S2
    #[tokio::test(start_paused = true)]
    async fn what_gets_no_token_is_sent_over_plain_http_as_ever() {
        let mut without = to("http://api.example.com/");
        without.extensions_mut().insert(NoToken);
        assert_eq!(sent(&layer(), without).await, [[""; 0]]);
        let own = with_own("http://api.example.com/", &["Bearer mine"]);
        assert_eq!(sent(&layer(), own).await, [["Bearer mine"]]);
        let elsewhere = to("http://example.com/");
        assert_eq!(sent(&pinned(), elsewhere).await, [[""; 0]]);
    }

    /// Promise: S2, S4
    #[tokio::test(start_paused = true)]
    async fn the_error_names_the_origin_and_nothing_else_of_the_uri() {
        let uri = "http://me:hunter2@api.example.com:81/path-of-mine?key=of-mine";
        let error = rejected(&layer(), to(uri)).await;
        let told = format!("{error} {error:?}");
        assert!(told.contains("http://api.example.com:81,"), "{told}");
        for hidden in ["me:", "hunter2", "of-mine"] {
            assert!(!told.contains(hidden), "{told}");
        }
    }
}

mod elsewhere {
    //! S1: the origins that are pinned, and the others.

    use super::*;

    /// URIs that are not surely of `https://api.example.com`.
    const ELSEWHERE: [&str; 13] = [
        "https://example.com/",
        "https://v1.api.example.com/",
        "https://api.example.com.evil.test/",
        "https://api.example.com@evil.test/",
        "https://me@api.example.com/",
        "https://me:pw@api.example.com:443/",
        "https://api.example.com./",
        "https://api.example.com:8443/",
        "https://api.example.com:/",
        "http://api.example.com/",
        "http://api.example.com:443/",
        "ws://api.example.com/",
        "/orders",
    ];

    /// Promise: S1
    #[tokio::test(start_paused = true)]
    async fn what_is_not_surely_the_pinned_origin_passes_bare_by_default() {
        for uri in ELSEWHERE {
            assert_eq!(sent(&pinned(), to(uri)).await, [[""; 0]], "{uri}");
        }
    }

    /// Promise: S1
    #[tokio::test(start_paused = true)]
    async fn what_is_not_surely_the_pinned_origin_is_not_sent_where_others_are_rejected() {
        let layer = pinned().deny_unselected();
        for uri in ELSEWHERE {
            for own in [&[][..], &["Basic YTpi"]] {
                rejected(&layer, with_own(uri, own)).await;
            }
        }
        let told = rejected(&layer, to("https://me:pw@evil.test:81/a?b")).await;
        let told = told.to_string();
        assert!(told.contains("https://evil.test:81 "), "{told}");
        for uri in ["https://api.example.com/", "https://API.example.com:443"] {
            assert_eq!(sent(&layer, to(uri)).await, [[TOKEN]], "{uri}");
        }
    }

    /// Promise: S1, R13
    #[tokio::test(start_paused = true)]
    async fn what_wants_no_token_keeps_its_authorization_whatever_is_done_with_others() {
        for existing in [ExistingAuthorization::Replace, ExistingAuthorization::Deny] {
            let mut request = with_own("https://api.example.com/", &["Bearer mine"]);
            request.extensions_mut().insert(NoToken);
            let layer = pinned().existing_authorization(existing);
            assert_eq!(sent(&layer, request).await, [["Bearer mine"]]);
        }
    }

    /// Promise: S1, R13
    #[tokio::test(start_paused = true)]
    async fn a_request_that_says_so_itself_is_sent_without_a_token_wherever_others_are_rejected() {
        let mut request = to("https://example.com/");
        request.extensions_mut().insert(NoToken);
        let layer = pinned().deny_unselected();
        assert_eq!(sent(&layer, request).await, [[""; 0]]);
    }

    /// Promise: S1
    #[tokio::test(start_paused = true)]
    async fn a_service_whose_request_was_rejected_takes_the_next_one() {
        let api = api([200]);
        let mut service = pinned().deny_unselected().layer(api.clone());
        for (uri, is_sent) in [
            ("https://example.com/", false),
            ("https://api.example.com/", true),
        ] {
            let answer = service.ready().await.unwrap().call(to(uri)).await;
            assert_eq!(answer.is_ok(), is_sent, "{uri}");
        }
        assert_eq!(api.requests().len(), 1);
    }

    /// What a URI may have in it, and what may be misread.
    const PIECES: &str = r"[a-zA-Z.@:%\[\]0-9/?#_~!$&'()*+,;=-]{0,8}";

    /// Mostly nothing, so that many of the URIs are of the origin.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![2 => Just(String::new()), 1 => PIECES]
    }

    /// The other parser is the WHATWG one, by which reqwest reads a URI.
    ///
    /// Promise: S1
    #[test]
    fn no_uri_gets_the_token_that_another_parser_takes_elsewhere() {
        let origins = Origins::new(["https://api.example.com"]).unwrap();
        let (asked, selected) = (Cell::new(0), Cell::new(0));
        let uris = (
            "https?|HTTPS|wss",
            piece(),
            "api\\.example\\.com|API\\.EXAMPLE\\.com",
            prop_oneof![2 => "(:443)?(/.?)?", 1 => PIECES],
        );
        let config = ProptestConfig {
            cases: 5_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        proptest!(config, |((scheme, before, host, after) in uris)| {
            let text = format!("{scheme}://{before}{host}{after}");
            let Ok(request) = Request::get(&text).body(()) else { return Ok(()) };
            asked.set(asked.get() + 1);
            if origins.select(&RequestHead::from(&request)).is_some() {
                selected.set(selected.get() + 1);
                let url = url::Url::parse(&text).unwrap();
                prop_assert_eq!(url.origin().ascii_serialization(), "https://api.example.com");
                prop_assert!(url.username().is_empty() && url.password().is_none());
            }
        });
        let [asked, selected] = [asked, selected].map(Cell::into_inner);
        assert!(
            selected > asked / 10,
            "{selected} of {asked} were of the origin"
        );
    }
}

mod own {
    //! S3: an `Authorization` that is there already.

    use super::*;

    const API: &str = "https://api.example.com/orders";
    const OWN: [&[&str]; 4] = [
        &["Basic YTpi"],
        &["Bearer mine"],
        &[""],
        &["Bearer a", "Bearer b"],
    ];

    /// Promise: S3
    #[tokio::test(start_paused = true)]
    async fn it_is_replaced_where_that_is_asked_for_in_both_tries_and_whole() {
        for own in OWN {
            let layer = layer().existing_authorization(ExistingAuthorization::Replace);
            assert_eq!(sent(&layer, with_own(API, own)).await, [[TOKEN]]);

            let tokens = ["one", "two"].map(|token| {
                let body = format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#);
                answer(200, &[("content-type", "application/json")], body)
            });
            let endpoint = Endpoint::new(tokens);
            let credentials =
                ClientCredentials::builder("https://auth.example.com/token", "id", "secret")
                    .build_with(endpoint.clone())
                    .unwrap();
            let layer = BearerAuthLayer::new(credentials)
                .existing_authorization(ExistingAuthorization::Replace);
            let api = api([401, 200]);
            let answer = layer.layer(api.clone()).oneshot(with_own(API, own)).await;
            assert_eq!(answer.unwrap().status(), 200);
            assert_eq!(authorizations(&api), [["Bearer one"], ["Bearer two"]]);
            assert_eq!(endpoint.posts(), 2);
        }
    }

    /// Promise: S3
    #[tokio::test(start_paused = true)]
    async fn it_is_rejected_where_that_is_asked_for_without_being_told() {
        let layer = layer().existing_authorization(ExistingAuthorization::Deny);
        for own in OWN {
            let error = rejected(&layer, with_own(API, own)).await;
            assert!(
                error
                    .to_string()
                    .contains("already has the header Authorization")
            );
            assert!(!format!("{error:?}").contains("Bearer"));
        }
        assert_eq!(sent(&layer, to(API)).await, [[TOKEN]]);
    }

    /// Promise: S1, S3
    #[tokio::test(start_paused = true)]
    async fn outside_the_pinned_origins_it_is_nobodys_business() {
        for own in [
            ExistingAuthorization::Keep,
            ExistingAuthorization::Replace,
            ExistingAuthorization::Deny,
        ] {
            let request = with_own("https://example.com/", &["Bearer mine"]);
            let layer = pinned().existing_authorization(own);
            assert_eq!(sent(&layer, request).await, [["Bearer mine"]], "{own:?}");
        }
    }

    /// Promise: S3
    #[tokio::test(start_paused = true)]
    async fn nothing_else_that_may_authenticate_is_touched() {
        let request = Request::get(API)
            .header(COOKIE, "session=1")
            .header("proxy-authorization", "Basic YTpi")
            .body(Bytes::new())
            .unwrap();
        let api = api([200]);
        layer().layer(api.clone()).oneshot(request).await.unwrap();
        let sent = &api.requests()[0];
        assert_eq!(sent.headers()[COOKIE], "session=1");
        assert_eq!(sent.headers()["proxy-authorization"], "Basic YTpi");
        assert_eq!(sent.headers().len(), 3);
    }
}

mod another_header {
    //! A token beside the caller's own `Authorization`.

    use super::*;

    const API: &str = "https://api.example.com/orders";

    /// Promise: S3, S4, R14
    #[tokio::test(start_paused = true)]
    async fn the_token_goes_there_in_both_tries_and_the_callers_authorization_stays() {
        for name in ["x-serverless-authorization", "proxy-authorization"] {
            // A body that is sent once waits for another token and is sent with that.
            for replays in [true, false] {
                let endpoint = TokenEndpoint::healthy(Duration::ZERO);
                let layer = BearerAuthLayer::new(endpoint.credentials())
                    .header_name(HeaderName::from_static(name));
                let api = api([401, 200]);
                if replays {
                    let service = layer.layer(api.clone());
                    service
                        .oneshot(with_own(API, &["Basic YTpi"]))
                        .await
                        .unwrap();
                } else {
                    let service = layer.replay(NoReplay).layer(api.clone());
                    for _ in 0..2 {
                        let request = with_own(API, &["Basic YTpi"]);
                        service.clone().oneshot(request).await.unwrap();
                    }
                }
                assert_eq!(authorizations(&api), [["Basic YTpi"], ["Basic YTpi"]]);
                let calls = api.requests();
                for (call, token) in calls.iter().zip(["Bearer t1", "Bearer t2"]) {
                    assert_eq!(call.headers()[name], token);
                    assert!(call.headers()[name].is_sensitive());
                    assert_eq!(call.headers().len(), 2);
                }
                assert_eq!((calls.len(), endpoint.token_requests()), (2, 2));
            }
        }
    }

    /// Promise: S3
    #[tokio::test(start_paused = true)]
    async fn what_is_done_with_an_existing_one_is_about_the_header_of_that_name() {
        let there = || {
            let mut request = with_own(API, &["Basic YTpi"]);
            let own = HeaderValue::from_static("Bearer own");
            request.headers_mut().insert("x-token", own);
            request
        };
        let layer = || layer().header_name(HeaderName::from_static("x-token"));
        let seen = async |layer: &BearerAuthLayer| {
            let api = api([200]);
            layer.layer(api.clone()).oneshot(there()).await.unwrap();
            let headers = api.requests()[0].headers().clone();
            assert_eq!(headers[AUTHORIZATION], "Basic YTpi");
            assert_eq!(headers.len(), 2);
            headers["x-token"].to_str().unwrap().to_owned()
        };
        assert_eq!(seen(&layer()).await, "Bearer own");
        let replacing = layer().existing_authorization(ExistingAuthorization::Replace);
        assert_eq!(seen(&replacing).await, TOKEN);
        let denying = layer().existing_authorization(ExistingAuthorization::Deny);
        let error = rejected(&denying, there()).await;
        assert!(error.to_string().contains("x-token"), "{error}");
        let other = with_own(API, &["Basic YTpi"]);
        assert_eq!(sent(&denying, other).await, [["Basic YTpi"]]);
        // By its usual name it is the usual header.
        let usual = super::layer().header_name(AUTHORIZATION);
        assert_eq!(sent(&usual, to(API)).await, [[TOKEN]]);
    }

    /// Promise: S1
    #[tokio::test(start_paused = true)]
    async fn origins_are_pinned_for_it_all_the_same() {
        let api = api([200]);
        let layer = pinned().header_name(HeaderName::from_static("x-token"));
        let request = to("https://example.com/");
        layer.layer(api.clone()).oneshot(request).await.unwrap();
        assert!(api.requests()[0].headers().is_empty());
    }
}

/// The options are about the layer, whatever else it is told, in any order.
///
/// Promise: S1, S2, S3
#[tokio::test(start_paused = true)]
async fn what_a_layer_may_send_survives_what_it_is_told_afterwards() {
    let layer = layer()
        .deny_unselected()
        .existing_authorization(ExistingAuthorization::Deny)
        .danger_allow_tokens_over_plain_http()
        .select(Origins::new(["http://api.example.com"]).unwrap())
        .unauthorized(tower_bearer::unauthorized::BearerChallenge)
        .replay(NoReplay);
    let status = async |request| -> Result<u16, BoxError> {
        let answer: Response<Full<Bytes>> = layer.layer(api([200])).oneshot(request).await?;
        Ok(answer.status().as_u16())
    };
    assert_eq!(status(to("http://api.example.com/")).await.unwrap(), 200);
    assert!(status(to("http://example.com/")).await.is_err());
    let own = with_own("http://api.example.com/", &["Bearer mine"]);
    assert!(status(own).await.is_err());
}

/// Promise: S1, S2, S3
#[tokio::test(start_paused = true)]
async fn the_grpc_layer_takes_the_same_options_and_answers_with_a_status() {
    let api = tower::service_fn(|request: Request<tonic::body::Body>| async move {
        let authorizations = request.headers().get_all(AUTHORIZATION).iter().count();
        assert_eq!(authorizations, 1, "{request:?}");
        Ok::<_, std::convert::Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let call = |uri: &str| {
        let request = Request::builder().method(Method::POST).uri(uri);
        request.body(tonic::body::Body::empty()).unwrap()
    };
    let layer = GrpcAuthLayer::new(fixed()).select(Always);
    let code = |error: BoxError| error.downcast::<tonic::Status>().unwrap().code();
    let answer = layer
        .layer(api)
        .oneshot(call("http://api.example.com/a.B/C"))
        .await;
    assert_eq!(code(answer.unwrap_err()), tonic::Code::FailedPrecondition);
    for uri in [
        "http://127.0.0.1/a.B/C",
        "https://api.example.com/a.B/C",
        "/a.B/C",
    ] {
        layer.layer(api).oneshot(call(uri)).await.unwrap();
    }
    let allowed = layer.clone().danger_allow_tokens_over_plain_http();
    let answer = allowed
        .layer(api)
        .oneshot(call("http://api.example.com/a.B/C"));
    answer.await.unwrap();

    let pinned = layer
        .existing_authorization(ExistingAuthorization::Deny)
        .select(Origins::new(["https://api.example.com"]).unwrap())
        .deny_unselected();
    let mut own = call("https://api.example.com/a.B/C");
    let value = HeaderValue::from_static("Bearer mine");
    own.headers_mut().insert(AUTHORIZATION, value);
    for request in [own, call("https://example.com/a.B/C")] {
        let answer = pinned.layer(api).oneshot(request).await;
        assert_eq!(code(answer.unwrap_err()), tonic::Code::FailedPrecondition);
    }
}
