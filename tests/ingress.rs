//! Answers that are not the token endpoint's own: L16, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_bearer::{ErrorKind, TokenCache};

use self::support::{TokenEndpoint, answer, token};

const SECOND: Duration = Duration::from_secs(1);
const PAGE: &str = "<html><h1>default backend</h1></html>";

/// Promise: L16, L5
#[tokio::test(start_paused = true)]
async fn two_minutes_of_an_ingress_in_the_token_endpoints_place_are_over_within_a_minute() {
    for status in [404, 403, 400] {
        for seed in 0..50 {
            fastrand::seed(seed);
            let well_at = Instant::now() + SECOND * 120;
            let endpoint = TokenEndpoint::new(move |_| async move {
                match Instant::now() < well_at {
                    true => answer(status, PAGE),
                    false => token("t", 3600),
                }
            });
            let cache = TokenCache::new(endpoint.credentials());
            while let Err(error) = cache.get().await {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}");
                assert!(error.is_transient(), "{status}");
                assert_eq!(error.status().unwrap(), status);
                assert!(well_at.elapsed() <= SECOND * 60, "{:?}", well_at.elapsed());
                sleep(SECOND / 4).await;
            }
            let made = endpoint.token_requests();
            assert!(made < 30, "{made}");
        }
    }
}
