//! What is protected, from whom, how, and which test proves it; and what is not.
//!
//! Reports of a weakness go the way that `SECURITY.md` tells.
//!
//! # What is at stake
//! | asset | whoever has it can |
//! | --- | --- |
//! | what proves the client: a secret, a private key, an assertion | get tokens as this client until it is changed |
//! | an access token | call the API as this client until the token expires |
//! | the token endpoint's patience: rate limits, quotas that cost money, a client that is locked out | keep this client, or all that share its limits, without tokens |
//! | the process: its memory, its threads, the time of its requests | take down the service that calls |
//! | the requests: their bodies, their headers, where they go | read or change what the service says |
//!
//! # Who attacks
//! - **The network** reads, changes, cuts and delays whatever is not under TLS, and knows where connections go.
//! - **A token endpoint** that is broken, taken over or simply another one than meant answers anything, or never. It is
//!   trusted with what proves the client, and with nothing else.
//! - **An API** that is broken, taken over or simply another one than meant answers anything, or never. It is trusted with
//!   the tokens that are for it.
//! - **Whoever chooses a URL**: a redirect, a link in an answer, a user. Trusted with nothing.
//! - **Whoever reads what is written down**: logs, traces, error reports, crash dumps. Trusted with no secret.
//! - **Another tenant** behind the same layer. Trusted with its own tokens.
//!
//! Code in the same process is trusted: the sources, selections and clients that a stack is made of see what they handle.
//!
//! # What is defended
//! Each row names tests, as `file::test` below `tests/`, and a test checks that they are there. What is said of TLS and of the
//! token request's connection is about the default transport; reqwest's is the builder that it is given.
//!
//! | threat | answer | proven by |
//! | --- | --- | --- |
//! | a URL from elsewhere takes the token to another server | [`Origins`](crate::select::Origins) pins scheme, host and port, and nothing is guessed; others pass bare or are [rejected](crate::BearerAuthLayer::deny_unselected) | `destinations::what_is_not_surely_the_pinned_origin_passes_bare_by_default`, `destinations::what_is_not_surely_the_pinned_origin_is_not_sent_where_others_are_rejected` |
//! | a URL that two parsers read differently | what is not plainly scheme, host and port is another origin | `destinations::no_uri_gets_the_token_that_another_parser_takes_elsewhere` |
//! | the API redirects to another server | reqwest's and tower-http's standard policies take the token off; above the layer, `Origins` gives none | `reqwest::a_redirect_to_another_origin_carries_no_token_and_one_to_the_same_origin_does`, `redirects::a_redirect_followed_below_takes_the_token_to_no_other_origin`, `redirects::a_retry_that_is_redirected_takes_the_next_token_to_no_other_origin`, `redirects::a_redirect_there_and_back_shows_the_other_origin_nothing`, `redirects::a_redirect_followed_above_goes_without_a_token_where_origins_does_not_name_it` |
//! | a 401 from another origin behind a redirect makes a token request for each request | the cool-down bounds them | `redirects::a_401_of_another_origin_behind_a_redirect_costs_a_token_request_and_not_one_for_each_request` |
//! | a token is read on its way | no token by a scheme that is neither https nor wss, but to loopback, unless by a long name; none to a tunnel's proxy | `destinations::over_plain_http_to_another_machine_nothing_is_sent_and_nothing_is_requested`, `destinations::a_scheme_is_plain_http_in_any_case_of_letters`, `destinations::a_tunnels_proxy_gets_no_token`, `destinations::an_http_origin_that_is_pinned_is_no_permission` |
//! | the secret is read on its way | no plain http to a token endpoint, an issuer or a discovered endpoint, but to loopback, unless by a long name; and loopback by no proxy | `reqwest::a_token_request_over_reqwest_with_loopback_goes_by_no_proxy`, `safety::a_token_url_that_would_not_do_is_rejected_with_what_to_change`, `safety::a_token_url_may_be_plain_http_elsewhere_by_a_long_name_only`, `discovery::a_token_endpoint_without_tls_does_not_do_where_the_issuer_has_it`, `discovery::an_issuer_that_is_https_names_no_token_endpoint_without_it_whatever_is_allowed` |
//! | another server passes for the token endpoint | its certificate has to be good for its name, now, from a root that is trusted; the error says which it is not | `tls::a_wrong_host_name_is_rejected_and_told`, `tls::an_expired_certificate_is_rejected_and_told`, `tls::a_certificate_that_is_not_valid_yet_is_rejected_and_told`, `tls::a_self_signed_certificate_is_rejected_and_told`, `tls::an_unknown_ca_is_rejected_and_told`, `tls::the_metadata_of_an_issuer_that_is_not_trusted_is_rejected_and_told` |
//! | a connection is talked down to something weak | TLS 1.2 and 1.3, nothing else | `tls::a_server_with_an_old_version_of_tls_alone_is_rejected_and_told`, `tls::a_server_without_tls_is_rejected_and_told`, `token_endpoint::a_tls_error_is_transient_and_nothing_was_said_in_the_clear` |
//! | a CA that a private network does not need is trusted | `root_certificates`, in place of the platform's | `tls::the_platforms_roots_are_trusted_unless_others_are_given` |
//! | the token endpoint redirects the secret | never followed, an error | `token_endpoint::no_redirect_takes_the_secret_to_another_server`, `reqwest::a_token_request_over_reqwest_follows_no_redirect_though_its_client_was_told_to` |
//! | metadata of another issuer, or a redirect of it | the issuer has to be the same to the letter; never followed | `discovery::metadata_of_another_issuer_is_not_used`, `discovery::a_redirect_of_the_metadata_is_never_followed`, `redirects::a_redirect_of_the_metadata_is_followed_by_no_transport` |
//! | a caller's credentials are overwritten, or stand beside ours | left alone, replaced or rejected; never two | `safety::the_callers_own_authorization_is_left_alone_without_any_token_request`, `destinations::it_is_replaced_where_that_is_asked_for_in_both_tries_and_whole`, `destinations::it_is_rejected_where_that_is_asked_for_without_being_told` |
//! | a request goes out bare because no token was to be had | it fails, with the cause | `safety::no_request_goes_out_bare_because_a_token_could_not_be_had`, `safety::without_a_runtime_no_request_goes_out_bare` |
//! | an access token with a line break writes headers of its own | what is not visible ASCII is no token | `token_endpoint::an_access_token_that_no_header_may_carry_is_an_error` |
//! | a token that is bound to a key is sent as if it were not | any type but Bearer is an error | `token_endpoint::a_token_of_another_type_is_an_error` |
//! | an answer without end, or a large one, in parts however small; heads without end, and interim answers over HTTP/1.1 | read up to 64 KiB, and within the limits of HTTP's own framing | `token_endpoint::an_answer_is_read_up_to_64_kib_and_not_a_byte_further`, `token_endpoint::an_answer_of_100_mib_is_cut_off_and_never_read`, `hostile::parts_of_a_token_answer_are_not_kept_and_count_though_they_are_empty`, `hostile::an_endless_answer_over_http_1_ends_in_an_error_and_takes_no_more_memory_than_is_read`, `hostile::an_endless_answer_over_http_2_ends_in_an_error_and_takes_no_more_memory_than_is_read` |
//! | a token endpoint that hangs, or drips | the token request's own deadline, for all waiters together | `token_endpoint::one_byte_a_second_is_cut_off_by_the_flights_deadline_for_everyone`, `flight::a_hanging_token_request_ends_for_all_waiters_together_at_its_own_deadline`, `hostile::an_answer_of_a_byte_at_a_time_is_cut_by_the_token_requests_deadline`, `hostile::interim_answers_without_an_end_over_http_2_end_at_the_deadline_and_leave_nothing_behind` |
//! | bytes that upset a parser, or a whole request's course | typed errors, no panic, two calls at the most | `fuzz::any_bytes_as_a_token_answer_are_a_token_or_an_error`, `fuzz::any_bytes_as_challenges_are_a_rejection_or_none`, `fuzz::any_bytes_as_retry_after_are_waited_for_five_minutes_at_most`, `hostile::any_answers_end_in_one_of_them_or_in_an_error_after_two_calls_at_the_most` |
//! | challenges that take long to read | a value over 8 KiB is not read | `hostile::a_challenge_takes_no_more_memory_than_so_many_times_its_length_and_a_long_one_none`, `hostile::ten_thousand_challenges_in_as_many_headers_are_all_read` |
//! | a rejection without end keeps the retry waiting | 64 KiB and 50 ms of it are read, then it is dropped | `connection::an_endless_rejection_does_not_hang_the_retry`, `connection::a_rejection_that_neither_ends_nor_goes_on_does_not_hang_the_retry`, `hostile::an_endless_rejection_of_an_api_is_given_up_and_the_retry_is_made` |
//! | an API that always rejects makes a token request per request | a cool-down by route and an allowance for all | `soak::an_api_that_always_answers_401_costs_what_the_cool_down_allows`, `soak::an_api_whose_every_route_answers_401_costs_what_one_cool_down_allows` |
//! | late rejections throw good tokens away | a rejection is of the token that was sent | `rejection::rejections_that_come_late_and_scattered_make_no_token_request_and_throw_no_newer_token_away` |
//! | a herd at expiry or after a failure locks the client out | one token request for everyone, backoff, `Retry-After` | `flight::ten_thousand_cold_requests_make_one_token_request_and_carry_one_token`, `soak::a_server_dead_for_an_hour_is_asked_about_twice_a_minute`, `token_endpoint::retry_after_is_kept_by_the_cache_and_its_cause_told` |
//! | one tenant's token on another's request | caches by key that share nothing | `keyed::a_million_interleaved_requests_of_a_thousand_tenants_each_carry_their_own_tenants_token`, `keyed::a_rejection_token_requests_the_token_of_its_own_key_only` |
//! | keys without end fill the memory | the map is bounded | `keyed::the_map_is_bounded_and_a_key_that_was_given_up_comes_back_with_one_token_request` |
//! | one tenant's server delays the others | each has a token request of its own | `keyed::a_key_that_hangs_and_one_that_fails_delay_no_other` |
//! | `Debug` output or an error shows a secret or a token | shown nowhere, also where the server quotes it | `leaks::no_debug_or_display_of_any_public_type_shows_a_secret_or_a_token`, `safety::no_error_shows_the_secret_that_a_server_quotes`, `client_auth::no_error_shows_an_assertion_or_what_signed_it_that_a_server_quotes`, `safety::no_error_shows_a_parameter_that_a_server_quotes`, `safety::no_error_shows_the_rejected_token_that_a_server_quotes_in_any_form`, `leaks::no_error_shows_what_a_source_said_as_it_panicked`, `config::no_secret_is_in_debug_or_in_an_error` |
//! | a log at its finest shows a secret or a token | marked sensitive; neither this crate nor hyper-util, h2, rustls, reqwest or tower-http shows one | `leaks::no_line_down_to_trace_shows_a_secret_or_a_token_over_http_1`, `leaks::no_line_down_to_trace_shows_a_secret_or_a_token_over_http_2`, `leaks::no_line_down_to_trace_shows_a_secret_or_a_token_over_tls`, `leaks::no_line_of_the_default_transport_over_tls_shows_a_secret_or_a_token` |
//! | memory that was let go of holds a secret | overwritten where this crate owns it | `wiped::a_secret_that_is_text_goes_with_the_last_credential_that_has_it`, `wiped::a_token_request_leaves_no_copy_of_a_secret_behind`, `wiped::a_token_request_that_is_cut_off_leaves_no_copy_of_a_secret_behind`, `wiped::a_secret_in_a_configuration_goes_with_it`, `wiped::the_text_of_a_private_key_is_in_memory_while_it_is_used_alone` |
//! | tasks that nobody waits for pile up | each ends at its deadline, and none outlives its cache by more | `tasks::a_hanging_token_request_of_a_cache_that_is_gone_ends_at_its_deadline`, `tasks::a_thousand_idle_credentials_have_no_task_and_are_gone_with_their_map` |
//! | a token that was revoked or whose machine slept is sent on | a 401 replaces it; two clocks | `rejection::a_rejected_request_makes_one_token_request_and_is_sent_once_more`, `src/cache/mod::a_token_that_ran_out_while_the_machine_slept_is_not_used`, `src/cache/mod::a_wall_clock_that_is_set_back_lengthens_no_life` |
//! | a rotated secret locks the client out | read at each token request, and once more when it is rejected; and from files only, as a pipe may never open | `secret::a_secret_that_is_rotated_under_load_costs_one_token_request_at_the_most_and_no_request`, `secret::a_pipe_in_the_place_of_a_secret_file_is_an_error_and_is_not_waited_for` |
//! | unsafe code here | forbidden | `safety::unsafe_code_is_forbidden_by_the_manifest`, `safety::no_code_is_unsafe` |
//!
//! # What is not
//! - **Without [`Origins`](crate::select::Origins) nothing is pinned.** By default every request gets the token, wherever it goes by
//!   https: that is for clients that talk to one API only.
//! - **Bearer tokens are not bound to this client.** Whoever reads one can use it. The connection may have a client
//!   certificate, and a server that binds tokens to it ([RFC 8705 §3]) then does; DPoP ([RFC 9449]) is not supported.
//! - **Below the layer** a token is a header like any other. It is marked sensitive, which hyper, h2 and tower-http heed;
//!   whether a client sends it on along a redirect, or logs it, is that client's own.
//! - **A service of one's own for the token request** (`build_with`) sees secret and token, and must not follow redirects.
//! - **A URI without a scheme** does not say how it travels, nor where to. Services on a connection of their own have chosen
//!   that, and so has a tonic `Channel`: with an `http://` endpoint the token travels in the clear.
//! - **A proxy of the API's client.** reqwest goes by the one that `HTTP_PROXY` names, to loopback as well. And `localhost` is a
//!   name that the client resolves.
//! - **A `Host` header that says something else** than the URI. `Origins` reads the URI, whose server the connection is to; a
//!   server with many tenants may hand the request to another of them. A proxy takes its caller's `Host` off.
//! - **A 401 from another origin** behind a redirect that was followed below costs a token request, within the cool-down.
//! - **The names of things** are shown: client ids, scopes, hosts, the paths of secrets' files, names of variables and of
//!   parameters. A secret that is given in place of a name, as in `Secret::file(secret)`, is shown.
//! - **A log that is told to hold everything.** A reqwest client of the API with `connection_verbose` writes the token into
//!   its own; hyper's hidden tracing and what a transport of one's own writes are not looked at. The default panic hook
//!   prints what a source said as it panicked.
//! - **A server's echo in another shape.** Secrets that a server quotes are hidden as they are, form-encoded, with `%20` and
//!   in base64, whole; not in pieces, nor in HTML, nor in lower-case hexadecimal.
//! - **Memory of others.** What this crate owns is wiped, see [`Secret`](crate::Secret). Not wiped are: the token itself, which is
//!   a `HeaderValue`; the token endpoint's answer and what JSON is read with; the buffers of HTTP and TLS; what a transport
//!   keeps of a request, and what is kept here of a request's head to send it again; `ring`'s keys, a signature before it is
//!   encoded, and what a PEM was decoded with; the environment; `param`'s values; swap, core dumps, and whatever else the
//!   machine keeps.
//! - **Interim answers (1xx) without end over HTTP/2** pile up in h2 until the token request's deadline, some 100 MiB in a second at
//!   what loopback can carry, and are gone after it. The default transport speaks HTTP/1.1 alone; another one that speaks
//!   HTTP/2 to a token endpoint trusts it so far.
//! - **An answer of nothing but framing** at the network's full speed, such as the zeros of a chunk's length without end, keeps
//!   hyper busy, and the deadline may be late on a runtime whose every thread has such a connection.
//! - **Time.** An assertion's dates and a token's life need a clock that is roughly right.
//!
//! # RFC 6749 §10, point by point
//! | section | answer |
//! | --- | --- |
//! | [10.1] client authentication | every method that servers announce, the strong ones among them: [`ClientAuth`](crate::ClientAuth) |
//! | [10.2] client impersonation | the credential goes to the token endpoint and nowhere else, and is shown nowhere |
//! | [10.3] access tokens | over TLS or to loopback, to origins that can be pinned, in memory only; the scopes that are asked for |
//! | [10.4] refresh tokens | this grant has none; one that comes is not kept |
//! | [10.5]–[10.7] authorization codes, redirection URIs, passwords | no part of this grant |
//! | [10.8] request confidentiality | TLS, or loopback |
//! | [10.9] endpoint authenticity | the server's certificate is verified, against the platform's roots or your own |
//! | [10.10] guessing | a denied client backs off, from 30 s to 5 min |
//! | [10.11]–[10.13] phishing, request forgery, clickjacking | no part of this grant |
//! | [10.14] code injection and input validation | what a server sends is typed, bounded and put on one line before anybody sees it; what goes into a header is checked |
//! | [10.15] open redirectors | redirects of the token endpoint and of metadata are never followed |
//! | [10.16] misuse of a token to impersonate | no part of this grant |
//!
//! # RFC 6750 §5, point by point
//! [§5.1] names the threats: a token that is made or changed, disclosed, sent to the wrong server, or sent again. Making and
//! changing are the servers' to prevent; the others are in the table above. [§5.2] is what servers and TLS do about them.
//!
//! | recommendation of [§5.3] | answer |
//! | --- | --- |
//! | safeguard bearer tokens | pinned origins, sensitive headers, no token in any output |
//! | validate TLS certificate chains | the default transport does, and it cannot be switched off; other clients as they are set up |
//! | always use TLS | but for loopback, and by a long name |
//! | no tokens in cookies, nor in page URLs | in the `Authorization` header and nowhere else |
//! | short-lived tokens | as the server has it; renewed without a wait |
//! | scoped tokens | what is asked for; a narrower grant is visible |
//!
//! # RFC 9700, point by point
//! What is about redirects of a browser, authorization codes, PKCE and refresh tokens ([§2.1], [§2.2.2], [§4.1]–[§4.8],
//! [§4.14], [§4.16], [§4.17]) is no part of this grant. [§3] is its model of attackers; ours stands at the top.
//!
//! | section | answer |
//! | --- | --- |
//! | [§2.2.1], [§4.10.1] sender-constrained tokens | by client certificate, where the server binds tokens to it; no DPoP |
//! | [§2.3], [§4.10.2] restricted privileges and audiences | `scopes`, `audience` and `resource` of the builder; one credential for each API, by [`Origins::keyed`](crate::select::Origins::keyed) |
//! | [§2.4] passwords | not offered |
//! | [§2.5] client authentication | asymmetric methods are offered, and a key may stay with whoever holds it |
//! | [§2.6] metadata, end-to-end TLS | [`discover`](crate::ClientCredentials::discover); plain http behind a proxy that ends TLS needs the long name |
//! | [§4.9] leakage at the resource server | `Origins`: a counterfeit server is another origin |
//! | [§4.11] open redirection | see above |
//! | [§4.12] 307 redirects | the token endpoint's POST is never sent on |
//! | [§4.13] proxies that end TLS | the proxy example takes the caller's `Authorization` and what is about one hop off before it adds a token |
//! | [§4.15] a client that passes for a user | the server's business |
//!
//! [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
//! [10.1]: https://www.rfc-editor.org/rfc/rfc6749#section-10.1
//! [10.2]: https://www.rfc-editor.org/rfc/rfc6749#section-10.2
//! [10.3]: https://www.rfc-editor.org/rfc/rfc6749#section-10.3
//! [10.4]: https://www.rfc-editor.org/rfc/rfc6749#section-10.4
//! [10.5]: https://www.rfc-editor.org/rfc/rfc6749#section-10.5
//! [10.7]: https://www.rfc-editor.org/rfc/rfc6749#section-10.7
//! [10.8]: https://www.rfc-editor.org/rfc/rfc6749#section-10.8
//! [10.9]: https://www.rfc-editor.org/rfc/rfc6749#section-10.9
//! [10.10]: https://www.rfc-editor.org/rfc/rfc6749#section-10.10
//! [10.11]: https://www.rfc-editor.org/rfc/rfc6749#section-10.11
//! [10.13]: https://www.rfc-editor.org/rfc/rfc6749#section-10.13
//! [10.14]: https://www.rfc-editor.org/rfc/rfc6749#section-10.14
//! [10.15]: https://www.rfc-editor.org/rfc/rfc6749#section-10.15
//! [10.16]: https://www.rfc-editor.org/rfc/rfc6749#section-10.16
//! [§5.1]: https://www.rfc-editor.org/rfc/rfc6750#section-5.1
//! [§5.2]: https://www.rfc-editor.org/rfc/rfc6750#section-5.2
//! [§5.3]: https://www.rfc-editor.org/rfc/rfc6750#section-5.3
//! [§2.1]: https://www.rfc-editor.org/rfc/rfc9700#section-2.1
//! [§2.2.1]: https://www.rfc-editor.org/rfc/rfc9700#section-2.2.1
//! [§2.2.2]: https://www.rfc-editor.org/rfc/rfc9700#section-2.2.2
//! [§2.3]: https://www.rfc-editor.org/rfc/rfc9700#section-2.3
//! [§2.4]: https://www.rfc-editor.org/rfc/rfc9700#section-2.4
//! [§2.5]: https://www.rfc-editor.org/rfc/rfc9700#section-2.5
//! [§2.6]: https://www.rfc-editor.org/rfc/rfc9700#section-2.6
//! [§3]: https://www.rfc-editor.org/rfc/rfc9700#section-3
//! [§4.1]: https://www.rfc-editor.org/rfc/rfc9700#section-4.1
//! [§4.8]: https://www.rfc-editor.org/rfc/rfc9700#section-4.8
//! [§4.9]: https://www.rfc-editor.org/rfc/rfc9700#section-4.9
//! [§4.10.1]: https://www.rfc-editor.org/rfc/rfc9700#section-4.10.1
//! [§4.10.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.10.2
//! [§4.11]: https://www.rfc-editor.org/rfc/rfc9700#section-4.11
//! [§4.12]: https://www.rfc-editor.org/rfc/rfc9700#section-4.12
//! [§4.13]: https://www.rfc-editor.org/rfc/rfc9700#section-4.13
//! [§4.14]: https://www.rfc-editor.org/rfc/rfc9700#section-4.14
//! [§4.15]: https://www.rfc-editor.org/rfc/rfc9700#section-4.15
//! [§4.16]: https://www.rfc-editor.org/rfc/rfc9700#section-4.16
//! [§4.17]: https://www.rfc-editor.org/rfc/rfc9700#section-4.17
