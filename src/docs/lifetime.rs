//! A token's life: when it is got, refreshed, given up and replaced, and what that costs under each fault.
//!
//! # The stages
//! ```text
//! asked for       75 % – 85 %                 min(30 s, 10 %) before its end      end
//!     │ ────── fresh ─────│──────── stale ─────────────│──────── not sent ─────────│
//!     │ used              │ used; its first use starts │ requests wait for the     │
//!     │                   │ a token request, and waits for │ token request, or fail with    │
//!     │                   │ nothing                    │ the last error            │
//! ```
//! All of it is counted from before the token was asked for, on two clocks: a token is over when the steady clock or the
//! wall clock says so. The steady one stands still while a machine sleeps, and the wall clock may be set back. The steady
//! clock is read for each request; the wall clock once in a millisecond, for reading it costs as much again (28 ns beside
//! 28 ns, measured on 2026-11-24 on 2 cores of an x86_64 server as 30 million reads each of `SystemTime::now` and
//! `Instant::now`).
//!
//! The refresh point is drawn once per token. It is moved forward, to half of the lifetime at the most, if the last
//! token request took so long that two like it would not fit before the token's end.
//!
//! # Failures
//! A failed token request is remembered. Until its backoff is over nobody asks again: who has a token that is still good uses
//! it, and everybody else gets the error at once, with its cause and with [`retry_after`](crate::Error::retry_after). When it is
//! over, the next request probes, and all others wait for that probe or go on as before.
//!
//! | failure | class | steps |
//! | --- | --- | --- |
//! | no connection, 408, 409, 429, 5xx, a token request that took too long, an answer without a usable token, a source's own error | transient | 1, 2, 4 … 60 s |
//! | `invalid_client`, `invalid_scope` and other 4xx, a redirect | permanent | 30, 60 … 300 s |
//! | a panic in the source, a runtime shut down | neither | none the first time, then as transient |
//!
//! Each step is jittered down to a tenth of itself at the least. A `Retry-After` is a lower bound, up to 5 minutes. A
//! secret that is kept in a [file](crate::Secret::file) is read again when the server says `invalid_client`, and if it
//! changed it is tried at once.
//!
//! # Rejections
//! A 401 is about the token that was sent. If another one is there already, the request is sent again with that, and costs
//! no token request. If not, it starts a token request or joins the one under way; the rejected token stays until another is there,
//! for it may be the route that is at fault, and a token rejected in one place may be good in all others.
//!
//! Whether it is the route is told by the fresh token. If that is rejected too, the route causes no token request for 1 s, then
//! 2 s, 4 s … 5 minutes, until a newer token is accepted there; its requests are sent once, and their 401 is handed on at
//! once with [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) in its extensions. A route is method, authority and path,
//! where a path segment with a digit in it stands for any other. A route that is healed each time causes a token request every
//! half second at the most. An acceptance by another request, even on the same route, is no heal.
//!
//! Up to four such routes are told apart from the healthy ones, which heal from a revocation at once. When more are failing,
//! the API as a whole is taken to be: the routes wait together, by the same steps, until a fresh token heals any of them. A route
//! that accepted a token in that time does not wait, and heals at once too.
//!
//! A route that was put right is still held for what is left of its step. And whatever the routes say, rejections cause no
//! more than 30 token requests at a stretch and one more every 10 s. The last 10 of the 30 are for routes that accepted a token
//! lately.
//!
//! A refreshed token may be rejected because the API does not know it yet. While the token before it is good, rejected requests
//! are retried with that one, and no token is requested; the new one is tried again after a second. A request that cannot be
//! retried is not sent with a rejected token while the request for another is under way: it waits for that.
//!
//! Why a rejected request was not retried is in the response's extensions:
//! [`NotRetried`](crate::extension::NotRetried).
//!
//! Where requests are not sent a second time ([`NoReplay`](crate::replay::NoReplay), [`NoRetry`](crate::extension::NoRetry)), the next
//! requests of the route tell instead.
//!
//! # The bounds
//! For an hour, with the defaults. Each row is a test in `tests/soak.rs`, which prints what it measured; the whole load is
//! `SOAK_RATE=10000 cargo test --release --test soak -- --nocapture`.
//!
//! | fault | token requests in an hour, at most | longest wait of a request | what the caller sees | test |
//! | --- | --- | --- | --- | --- |
//! | none; tokens of 5 minutes | one per 225 s: 17 | the first: one token request; all others: none | 200 | `a_healthy_server_is_asked_once_per_token_and_nobody_waits_but_for_the_first` |
//! | server dead, token gone | 143, five standard deviations above the mean of 114; jitter rules no smaller number out for certain | none, once it has failed | the last error, at once | `a_server_dead_for_an_hour_is_asked_about_twice_a_minute` |
//! | server down, or hanging, for stretches | while it is down, a tenth of each step of 1 … 60 s apart; one per 225 s else | a hanging token request: 10 s | 200 while the token lasts, then the last error; 200 again within one step (60 s) of the recovery | `a_server_down_for_random_stretches_is_asked_by_the_backoff_and_is_back_within_a_step` |
//! | slow server (up to 8 s), tokens of 60 s | one per 38 s: 95 | one token request: 8 s | 200 | `a_slow_server_keeps_nobody_waiting_longer_than_one_token_request` |
//! | 429 with `Retry-After` | one per `Retry-After`, or per 5 minutes if that is shorter | none, once it has failed | 200 while the token lasts, then the last error | `retry_after_is_kept_to_the_second` |
//! | the same token until it expires (5 minutes) | 10 per token: at 70 % or more of what is left, each time | one token request | 200, but for the token's last second | `a_token_given_again_until_it_expires_makes_no_tight_loop` |
//! | an API that always answers 401, on one route | 1, 2, 4 … 300 s apart: 21 | the first few: one token request | its 401 | `an_api_that_always_answers_401_costs_what_the_cool_down_allows` |
//! | the same on five routes | two for each route, then the same steps for all: 30 | the first few: one token request | its 401 | `an_api_whose_every_route_answers_401_costs_what_one_cool_down_allows` |
//! | one route that always answers 401 | the same 21, and what the others need | the others: none | its 401 there, 200 elsewhere | `one_route_that_always_answers_401_leaves_the_others_alone_and_a_revocation_heals_at_once` |
//! | good tokens rejected at random | 30, and one every 10 s: 391 | one token request | 200, or the 401 | `an_api_that_rejects_good_tokens_at_random_costs_no_more_than_the_allowance` (in `tests/rejection.rs`) |
//! | tokens revoked at random | one per revocation | one token request | 200 | `revocations_at_random_moments_cost_a_token_request_each_and_heal_at_once` |
//!
//! A wall clock that is set forward costs one token request (`a_wall_clock_that_is_set_forward_costs_one_token_request`, in
//! `src/cache`). 1,000 processes that start together with tokens of a day make one token request each at their first refresh,
//! spread over 144 minutes (`tests/fleet_start.rs`).
