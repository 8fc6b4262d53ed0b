//! A token's life, in paused time: L1–L7, L9 and L10.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::{
    BearerAuthLayer, Error, ErrorKind, Token, TokenCache,
    token::{Reason, TokenRequest},
};

use self::support::{Api, TokenEndpoint, answer, get, settle, token};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Promise: L1
#[tokio::test(start_paused = true)]
async fn inside_the_refresh_window_no_request_waits_and_one_token_request_runs() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    // The refresh point is at 2,700 to 3,060 s.
    advance(SECOND * 3100).await;

    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    settle().await;
    assert_eq!(endpoint.token_requests(), 2);

    sleep(SECOND * 2).await;
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: L2
#[tokio::test(start_paused = true)]
async fn the_refresh_point_is_jittered_once_per_token() {
    let mut points = Vec::new();
    for _ in 0..200 {
        let endpoint = TokenEndpoint::healthy(Duration::ZERO);
        let cache = TokenCache::new(endpoint.credentials());
        cache.get().await.unwrap();
        let born = Instant::now();
        while endpoint.token_requests() < 2 {
            advance(SECOND * 10).await;
            cache.get().await.unwrap();
            settle().await;
        }
        points.push(born.elapsed().as_secs());
    }
    points.sort_unstable();
    // 75 % to 85 % of an hour, seen in steps of 10 s, and spread over it.
    assert!(points[0] >= 2700, "{points:?}");
    assert!(points[199] <= 3070, "{points:?}");
    assert!(points[199] - points[0] >= 180, "{points:?}");
}

/// Promise: L2
#[tokio::test(start_paused = true)]
async fn with_four_second_tokens_and_slow_token_requests_only_the_first_request_waits() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND / 2).await;
        token(&format!("t{post}"), 4)
    });
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();

    for _ in 0..600 {
        let before = Instant::now();
        cache.get().await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(SECOND / 10).await;
    }
    // A minute, and a token every 2 to 3.1 s.
    assert!(
        (19..=31).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L3
#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_harms_no_request_while_the_token_is_good() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 3600),
            _ => answer(503, ""),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    advance(SECOND * 3100).await;

    // Until 30 s before the end, ten times a second.
    for _ in 0..4600 {
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
        sleep(SECOND / 10).await;
    }
    // 460 s of full jitter up to 1, 2, 4 … 60 s: never fewer than the steps allow, far fewer than the requests.
    assert!(
        (8..60).contains(&endpoint.token_requests()),
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L4
#[tokio::test(start_paused = true)]
async fn a_server_that_stays_down_past_the_expiry_fails_requests_fast_and_no_expired_token_is_sent()
{
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            1 => token("t1", 300),
            _ => answer(503, ""),
        }
    });
    let api = Api::accepting(["t1"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let born = Instant::now();
    assert_eq!(
        service.clone().oneshot(get("/")).await.unwrap().status(),
        200
    );

    let (mut sent_until, mut failures) = (Duration::ZERO, 0);
    for _ in 0..6000 {
        sleep(SECOND / 10).await;
        let (before, asked) = (Instant::now(), endpoint.token_requests());
        match service.clone().oneshot(get("/")).await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                sent_until = born.elapsed();
            }
            Err(error) => {
                let error = error.downcast::<Error>().unwrap();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert_eq!(error.status().unwrap(), 503, "the cause is told");
                failures += 1;
            }
        }
        // Who asks the server tries twice; everyone else is told at once.
        let longest = match endpoint.token_requests() - asked {
            2 => SECOND / 4,
            _ => Duration::ZERO,
        };
        assert!(before.elapsed() <= longest, "{:?}", before.elapsed());
    }
    assert!(sent_until < SECOND * 300, "{sent_until:?}");
    assert!(sent_until > SECOND * 299, "{sent_until:?}");
    assert!(failures > 2000);
    assert!(
        endpoint.token_requests() < 90,
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L4, L11
#[tokio::test(start_paused = true)]
async fn an_error_while_backing_off_tells_the_cause_and_when_the_next_try_is_due() {
    let endpoint = TokenEndpoint::new(|_| async { answer(401, r#"{"error":"invalid_client"}"#) });
    let cache = TokenCache::new(endpoint.credentials());

    let first = cache.get().await.unwrap_err();
    assert_eq!(first.retry_after(), None);
    let second = cache.get().await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Denied);
    assert_eq!(second.oauth_code(), Some("invalid_client"));
    let beginning = format!("no token: {first}; the next token request is allowed in ");
    assert!(second.to_string().starts_with(&beginning), "{second}");
    assert_eq!(endpoint.token_requests(), 1);

    // As it says, and not before.
    let retry_after = second.retry_after().unwrap();
    assert!(
        (SECOND * 3..=SECOND * 30).contains(&retry_after),
        "{retry_after:?}"
    );
    sleep(retry_after - Duration::from_millis(2)).await;
    cache.get().await.unwrap_err();
    assert_eq!(endpoint.token_requests(), 1);
    sleep(Duration::from_millis(4)).await;
    cache.get().await.unwrap_err();
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn a_permanent_failure_after_transient_ones_starts_at_its_own_first_step() {
    let endpoint = TokenEndpoint::new(|post| async move {
        match post {
            ..8 => answer(503, ""),
            _ => answer(401, r#"{"error":"invalid_client"}"#),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    while endpoint.token_requests() < 8 {
        let _ = cache.get().await;
        sleep(SECOND / 10).await;
    }
    let error = cache.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.retry_after().unwrap() <= SECOND * 30, "{error}");
}

/// Promise: L11
#[tokio::test(start_paused = true)]
async fn retry_after_is_kept_to() {
    let endpoint = TokenEndpoint::new(|post| async move {
        if post > 1 {
            return token("t2", 3600);
        }
        let mut busy = answer(429, "");
        busy.headers_mut().insert("retry-after", 120.into());
        busy
    });
    let cache = TokenCache::new(endpoint.credentials());

    let error = cache.get().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(SECOND * 120));
    sleep(SECOND * 119).await;
    let error = cache.get().await.unwrap_err();
    assert!(error.retry_after().unwrap() <= SECOND);
    sleep(SECOND * 2).await;
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);
}

/// Promise: L5
#[tokio::test(start_paused = true)]
async fn a_server_that_recovers_is_found_within_one_step_and_without_a_burst() {
    let up_at = Instant::now() + MINUTE * 10;
    let endpoint = TokenEndpoint::new(move |post| async move {
        sleep(SECOND / 10).await;
        match Instant::now() < up_at {
            true => answer(503, ""),
            false => token(&format!("t{post}"), 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());

    let mut before_recovery = 0;
    loop {
        if Instant::now() < up_at {
            before_recovery = endpoint.token_requests();
        }
        if cache.get().await.is_ok() {
            break;
        }
        sleep(SECOND / 10).await;
    }
    assert!(up_at.elapsed() <= MINUTE + SECOND, "{:?}", up_at.elapsed());
    assert!(endpoint.token_requests() - before_recovery <= 2);
}

/// Promise: L6
#[tokio::test(start_paused = true)]
async fn no_lifetime_makes_more_token_requests_than_it_forces() {
    // `expires_in`, and how many token requests ten minutes of requests may make.
    let cases = [
        // Taken for "never", as some servers mean it: 5 minutes.
        ("0", 2..4),
        ("-5", 2..4),
        ("1", 600..1300),
        ("2", 300..650),
        ("60", 10..16),
        ("300", 2..4),
        ("86399", 1..2),
        ("18446744073709551615", 1..2),
        ("\"3600\"", 1..2),
        ("3600.0", 1..2),
        // Absent, or as good as absent: 5 minutes.
        ("null", 2..4),
        ("\"soon\"", 2..4),
        ("[]", 2..4),
    ];
    for (expires_in, forced) in cases {
        let endpoint = TokenEndpoint::new(move |post| async move {
            answer(
                200,
                &format!(r#"{{"access_token":"t{post}","expires_in":{expires_in}}}"#),
            )
        });
        let cache = TokenCache::new(endpoint.credentials());
        for _ in 0..60_000 {
            let _ = cache.get().await;
            advance(Duration::from_millis(10)).await;
        }
        assert!(
            forced.contains(&endpoint.token_requests()),
            "expires_in {expires_in}: {} token requests",
            endpoint.token_requests()
        );
    }
}

/// Promise: L6
#[tokio::test(start_paused = true)]
async fn a_missing_lifetime_is_the_default_lifetime() {
    let endpoint = TokenEndpoint::new(|_| async { answer(200, r#"{"access_token":"t"}"#) });
    let cache = TokenCache::builder(endpoint.credentials())
        .default_lifetime(MINUTE)
        .build()
        .unwrap();
    cache.get().await.unwrap();
    advance(SECOND * 44).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(endpoint.token_requests(), 1, "before three quarters of it");
    advance(SECOND * 8).await;
    cache.get().await.unwrap();
    settle().await;
    assert_eq!(endpoint.token_requests(), 2, "past 85 % of it");
}

/// As Microsoft Entra ID says it.
///
/// Promise: E8, L1
#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_when_the_server_wants_it_and_not_only_at_its_refresh_point() {
    for refresh_in in ["1000", "\"1000\"", "1000.0"] {
        let endpoint = TokenEndpoint::new(move |post| async move {
            answer(
                200,
                &format!(
                    r#"{{"access_token":"t{post}","expires_in":3600,"refresh_in":{refresh_in}}}"#
                ),
            )
        });
        let cache = TokenCache::new(endpoint.credentials());
        cache.get().await.unwrap();
        // The jitter is 5 % of it at most.
        advance(SECOND * 949).await;
        cache.get().await.unwrap();
        settle().await;
        assert_eq!(endpoint.token_requests(), 1, "{refresh_in}");

        advance(SECOND * 51).await;
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
        settle().await;
        assert_eq!(endpoint.token_requests(), 2, "{refresh_in}");
        assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    }
}

/// Promise: E8, L6
#[tokio::test(start_paused = true)]
async fn no_refresh_in_makes_more_than_a_token_request_a_second() {
    for (refresh_in, most) in [
        ("0", 1),
        ("-1", 1),
        ("null", 1),
        ("\"soon\"", 1),
        ("1e300", 1),
        ("0.001", 11),
    ] {
        let endpoint = TokenEndpoint::new(move |post| async move {
            answer(
                200,
                &format!(
                    r#"{{"access_token":"t{post}","expires_in":3600,"refresh_in":{refresh_in}}}"#
                ),
            )
        });
        let cache = TokenCache::new(endpoint.credentials());
        for _ in 0..100 {
            cache.get().await.unwrap();
            settle().await;
            advance(SECOND / 10).await;
        }
        let made = endpoint.token_requests();
        assert!(made <= most && made > most / 2, "{refresh_in}: {made}");
    }
}

/// Promise: L7
#[tokio::test(start_paused = true)]
async fn a_token_from_a_cache_knows_when_it_expires() {
    for lifetime in [Some(SECOND * 600), None] {
        let cache = TokenCache::builder(service_fn(move |_: TokenRequest| async move {
            sleep(SECOND * 5).await;
            let token = Token::new("t")?;
            assert_eq!(token.expires_at(), None);
            assert_eq!(token.remaining(), None);
            Ok::<_, Error>(match lifetime {
                Some(lifetime) => token.with_lifetime(lifetime),
                None => token,
            })
        }))
        .default_lifetime(SECOND * 300)
        .build()
        .unwrap();
        let before = SystemTime::now();
        let token = cache.get().await.unwrap();
        let after = SystemTime::now();
        let life = lifetime.unwrap_or(SECOND * 300);
        let expires_at = token.expires_at().unwrap();
        // To the millisecond, and rather too early.
        let millisecond = Duration::from_millis(1);
        assert!(expires_at + millisecond > before + life && expires_at <= after + life);
        let remaining = token.remaining().unwrap();
        assert!(remaining <= life && remaining > life - SECOND * 60);
        assert_eq!(token.lifetime(), lifetime);
    }
}

/// Promise: L7
#[tokio::test(start_paused = true)]
async fn life_is_counted_from_before_the_token_request_was_sent() {
    let endpoint = TokenEndpoint::new(|post| async move {
        sleep(SECOND * 8).await;
        token(&format!("t{post}"), 100)
    });
    let cache = TokenCache::new(endpoint.credentials());
    cache.get().await.unwrap();
    // Born at 0, here at 8, no longer sent at 90: a clock that started at 8 would send it until 98.
    advance(SECOND * 81).await;
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t1");
    settle().await;
    advance(SECOND * 2).await;
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
}

/// Promise: L7
#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_when_it_comes_is_an_error_and_makes_no_tight_loop() {
    let endpoint = TokenEndpoint::new(|_| async {
        sleep(SECOND * 3).await;
        token("t", 2)
    });
    let api = Api::default();
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    let started = Instant::now();
    while started.elapsed() < MINUTE * 10 {
        let error = service.clone().oneshot(get("/")).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidAnswer);
        advance(SECOND / 100).await;
    }
    assert_eq!(api.calls().len(), 0);
    assert!(
        endpoint.token_requests() < 60,
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L9
#[tokio::test(start_paused = true)]
async fn a_server_that_gives_the_same_token_until_it_ends_is_not_asked_in_a_loop() {
    let born = Instant::now();
    let endpoint = TokenEndpoint::new(move |_| async move {
        let age = born.elapsed().as_secs();
        match age < 3600 {
            true => token("sticky", 3600 - age),
            false => token("next", 3600),
        }
    });
    let cache = TokenCache::new(endpoint.credentials());
    while born.elapsed() < SECOND * 3700 {
        let _ = cache.get().await;
        advance(SECOND / 10).await;
    }
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer next");
    assert!(
        endpoint.token_requests() < 30,
        "{}",
        endpoint.token_requests()
    );
}

/// Promise: L10
#[tokio::test(start_paused = true)]
async fn a_burst_after_three_idle_days_makes_one_token_request_and_sends_no_expired_token() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let api = Api::accepting(["t1", "t2"]);
    let service = BearerAuthLayer::new(endpoint.credentials()).layer(api.service());
    service.clone().oneshot(get("/")).await.unwrap();
    advance(MINUTE * 60 * 24 * 3).await;
    assert_eq!(
        endpoint.token_requests(),
        1,
        "nothing runs for an idle client"
    );

    let mut burst = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        burst.spawn(service.clone().oneshot(get("/")));
    }
    while let Some(response) = burst.join_next().await {
        assert_eq!(response.unwrap().unwrap().status(), 200);
    }
    assert_eq!(endpoint.token_requests(), 2);
    assert!(api.tokens()[1..].iter().all(|token| token == "t2"));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_why_it_is_asked() {
    let (asked, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let source = service_fn(move |request: TokenRequest| {
        let rejected = request.rejected_token().map(|t| bearer(t).to_owned());
        asked.send((request.reason(), rejected)).unwrap();
        async { Token::new("same").map(|token| token.with_lifetime(MINUTE)) }
    });
    let cache = TokenCache::new(source);
    let api = Api::default();
    let service = BearerAuthLayer::from_cache(cache.clone()).layer(api.service());

    cache.get().await.unwrap();
    assert_eq!(reasons.recv().await, Some((Reason::Cold, None)));
    cache.refresh().await.unwrap();
    assert_eq!(reasons.recv().await, Some((Reason::Refresh, None)));
    service.oneshot(get("/")).await.unwrap();
    let rejected = (Reason::Rejected, Some("Bearer same".to_owned()));
    assert_eq!(reasons.try_recv(), Ok(rejected));
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_token_is_requested_and_a_replaced_one_takes_none_with_it() {
    let endpoint = TokenEndpoint::healthy(SECOND);
    let cache = TokenCache::new(endpoint.credentials());
    let first = cache.get().await.unwrap();
    cache.invalidate(&first);
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    cache.invalidate(&first);
    assert_eq!(bearer(&cache.get().await.unwrap()), "Bearer t2");
    assert_eq!(endpoint.token_requests(), 2);
}

fn bearer(token: &Token) -> &str {
    token.authorization().to_str().unwrap()
}
