//! Security: the threat model. What is protected, from whom, how, and what is not.
//!
//! To report a vulnerability, see `SECURITY.md` in the repository.
//!
//! # Three settings to check first
//! 1. **Pin the origins.** By default, each request of the client gets the token. Call
//!    [`origins`](crate::BearerAuthLayer::origins), unless the client talks to one API only.
//! 2. **Deny other requests.** If users or responses can choose URLs, add
//!    [`deny_unselected`](crate::BearerAuthLayer::deny_unselected).
//! 3. **Keep the secret in a file** or behind a provider: [`Secret`](crate::Secret).
//!
//! # What is at stake
//! | asset | who has it can |
//! | --- | --- |
//! | the client's proof: a secret, a private key, an assertion | fetch tokens as this client, until the proof is changed |
//! | an access token | call the API as this client, until the token expires |
//! | the token endpoint's limits: rate, paid quotas, lock-out | keep this client without tokens |
//! | the process: memory, threads, time | stop the service that calls |
//! | the requests: bodies, headers, destinations | read or change what the service says |
//!
//! # Who attacks
//! - **The network** reads, changes, cuts and delays what is not under TLS.
//! - **A token endpoint** that is broken, hijacked or the wrong one. It is trusted with the
//!   client's proof and with nothing else.
//! - **An API** that is broken, hijacked or the wrong one. It is trusted with its own tokens.
//! - **The author of a URL**: a redirect, a link in a response, a user. Trusted with nothing.
//! - **A reader of logs**, traces, error reports or crash dumps. Trusted with no secret.
//! - **A reader or writer of the store** of a fleet (feature `shared`). Trusted with nothing.
//! - **Another tenant** behind the same layer. Trusted with its own tokens.
//!
//! Code in the same process is trusted: the sources, policies and clients of a stack.
//!
//! # What is defended
//! The tests behind each row are listed in `tests/threats.md`, and a test checks that list. Rows
//! about TLS and the connection describe the default transport; with `build_with_reqwest`, they
//! depend on the builder that you pass.
//!
//! | threat | defence |
//! | --- | --- |
//! | a URL from elsewhere takes the token to another server | [`Origins`](crate::select::Origins) pins scheme, host and port; nothing is guessed. Other requests go without a token, or are [not sent](crate::BearerAuthLayer::deny_unselected) |
//! | a URL that two parsers read differently | what is not plainly scheme, host and port is another origin |
//! | the API redirects to another server | the standard policies of reqwest and tower-http remove the token from `Authorization` and `Proxy-Authorization`, but from no [header of another name](crate::BearerAuthLayer::header_name); above the layer, `Origins` gives none |
//! | a 401 of another origin, behind a redirect, causes a token request for each request | the cool-down limits them |
//! | the network reads a token | a token goes over https, wss or loopback only, unless an explicit `danger_…` call allows more; none goes to a tunnel's proxy |
//! | the network reads the secret | the token endpoint, the issuer and a discovered endpoint must be https or loopback, unless an explicit `danger_…` call allows more; loopback goes through no proxy |
//! | another server poses as the token endpoint | its certificate must be valid for its name, now, under a trusted root; the error says what is not |
//! | a connection is downgraded to weak TLS | TLS 1.2 and 1.3 only |
//! | a public CA is trusted in a private network | `root_certificates` replaces the platform's roots |
//! | the token endpoint redirects the secret | redirects are not followed; they are an error |
//! | metadata of another issuer, or a redirect of the metadata | the issuer must be the same, letter by letter; redirects are not followed |
//! | a caller's own credentials are overwritten or doubled | kept, replaced or denied; never two `Authorization` headers |
//! | a request is sent without a token because none could be fetched | the request fails, with the cause |
//! | an access token with a line break injects headers | a token must be visible ASCII |
//! | a token that is bound to a key is sent as a bearer token | a token type other than Bearer is an error, without a DPoP key |
//! | a stolen token is used by another (feature `dpop`) | it is bound to a key; each request has a proof for its method, URI, token and time |
//! | a proof is used again, or elsewhere (feature `dpop`) | each attempt has a new one; it names its URI and token, and is marked sensitive; no error or log shows it |
//! | a server asks for nonces without end (feature `dpop`) | one retry; 64 origins, 1 KiB a nonce |
//! | an authorization server that binds no tokens any more (feature `dpop`) | a bearer token is an error, unless `accept_bearer_tokens` allows it |
//! | an endless or large answer; endless headers; interim responses over HTTP/1.1 | an answer is read up to 64 KiB, within the limits of HTTP's framing |
//! | a token endpoint that hangs or drips | the token request's own timeout, for all waiters together |
//! | bytes that confuse a parser or the course of a request | typed errors, no panic, two calls at most |
//! | challenges that take long to parse | a value over 8 KiB is not parsed |
//! | an endless rejection delays the retry | 64 KiB and 50 ms of it are read, then it is dropped |
//! | an API that always rejects causes a token request per request | a cool-down per route, and an allowance for all routes |
//! | an API has the client request more than it may, or over and over | only [claims](crate::client_credentials::ClientCredentialsBuilder::answer_claims_challenges) and [scopes](crate::client_credentials::ClientCredentialsBuilder::step_up_scopes) that the client is told to answer, within the cool-down; each scope once; what the server denies takes no token away |
//! | late rejections remove good tokens | a rejection counts for the token that was sent |
//! | a herd at expiry or after a failure locks the client out | one token request for all, backoff, `Retry-After` |
//! | one tenant's token on another tenant's request | caches by key share nothing |
//! | the store of a fleet is read | values are sealed with AES-256-GCM, names are keyed hashes; there is no mode without a key |
//! | a value in the store of a fleet is changed, moved or made up | it opens for its own client, kind and generation alone; else it is as good as none |
//! | the store of a fleet is down, slow, or answers nonsense | each process requests tokens for itself |
//! | an unlimited number of keys fills the memory | the map is bounded |
//! | one tenant's server delays the others | each key has its own token requests |
//! | `Debug` or an error shows a secret or a token | redacted, also where the server quotes it |
//! | a log at TRACE shows a secret or a token | marked sensitive; this crate, hyper-util, h2, rustls, reqwest and tower-http show none |
//! | freed memory contains a secret | overwritten, where this crate owns it |
//! | forgotten tasks pile up | each ends at its timeout and does not outlive its cache by more |
//! | a revoked token, or one that expired while the machine slept, is sent | a 401 replaces it; two clocks |
//! | a rotated secret locks the client out | read at each token request, and again after `invalid_client`; from regular files only, because a pipe may block |
//! | `unsafe` code in this crate | forbidden |
//!
//! # What is not
//! - **Nothing is pinned without [`Origins`](crate::select::Origins).** See above.
//! - **Bearer tokens are not bound to the client.** A thief can use one. The connection may have
//!   a client certificate, and a server may bind tokens to it ([RFC 8705 §3]). With the feature
//!   `dpop`, tokens are bound to a key ([RFC 9449]).
//! - **Below the layer**, the token is a header. It is marked sensitive, and hyper, h2 and
//!   tower-http respect that. Your client decides what it forwards or logs.
//! - **Your own transport for token requests** (`build_with`) sees secret and token. It must not
//!   follow redirects.
//! - **A URI without a scheme** does not say where it goes. A service on one connection has made
//!   that choice, and so has a tonic `Channel`: with an `http://` endpoint, the token travels
//!   unencrypted.
//! - **A proxy of your API client.** reqwest uses the proxy in `HTTP_PROXY`, for loopback too.
//!   The client resolves `localhost` as a name.
//! - **A `Host` header that differs from the URI.** `Origins` reads the URI, since the connection
//!   goes there. A server with many tenants may route by `Host`. A proxy should remove its
//!   caller's `Host`.
//! - **A 401 of another origin**, behind a redirect that was followed below the layer, costs a
//!   token request, within the cool-down.
//! - **Names are shown**: client ids, scopes, hosts, paths of secret files, names of variables
//!   and parameters. If you pass a secret as a name, as in `Secret::from_file(secret)`, it is shown.
//! - **Logs of other crates.** A reqwest client with `connection_verbose` logs the token. The
//!   default panic hook prints the message of a source that panics.
//! - **Unusual echoes.** A secret that a server quotes is redacted as it is, form-encoded, with
//!   `%20`, and in base64. It is not redacted in pieces or in lower-case hexadecimal. A text of less than four bytes is not
//!   redacted.
//! - **Memory of others.** [`Secret`](crate::Secret) says what is overwritten. Not overwritten
//!   are: tokens, answers and JSON buffers, the buffers of HTTP and TLS, copies of a request's
//!   head, keys inside `ring` or another provider, decoded PEM, the environment, values of `param`, swap and core dumps.
//! - **Endless interim responses (1xx) over HTTP/2** collect in h2 until the token request's
//!   timeout: about 100 MiB per second over loopback. The default transport speaks HTTP/1.1.
//! - **An answer of framing only**, at full speed, keeps hyper busy. The timeout can be late if
//!   each thread of the runtime has one such connection.
//! - **A wrong clock.** Dates in assertions and lifetimes need a roughly correct clock.
//!
//! # RFC 6749 §10
//! | section | answer |
//! | --- | --- |
//! | [10.1] client authentication | each method that servers announce: [`ClientAuth`](crate::ClientAuth) |
//! | [10.2] client impersonation | the proof goes to the token endpoint only, and is shown nowhere |
//! | [10.3] access tokens | over TLS or loopback, to origins that can be pinned, in memory only, with the scopes you ask for |
//! | [10.4] refresh tokens | this grant has none; one that arrives is dropped |
//! | [10.5]–[10.7] authorization codes, redirection URIs, passwords | not part of this grant |
//! | [10.8] request confidentiality | TLS or loopback |
//! | [10.9] endpoint authenticity | the certificate is verified, with the platform's roots or yours |
//! | [10.10] guessing | a denied client backs off, from 30 s to 5 min |
//! | [10.11]–[10.13] phishing, request forgery, clickjacking | not part of this grant |
//! | [10.14] code injection | what a server sends is typed, bounded and kept on one line; header values are checked |
//! | [10.15] open redirectors | redirects of the token endpoint and of metadata are not followed |
//! | [10.16] misuse of a token to impersonate | not part of this grant |
//!
//! # RFC 6750 §5
//! [§5.1] names the threats: a token that is made or changed, disclosed, sent to the wrong
//! server, or sent again. Servers prevent the first; the table above has the others. [§5.2] is
//! what servers and TLS do.
//!
//! | recommendation of [§5.3] | answer |
//! | --- | --- |
//! | safeguard bearer tokens | pinned origins, sensitive headers, no token in any output |
//! | validate TLS certificate chains | the default transport does, always; other clients as configured |
//! | always use TLS | except for loopback, and by an explicit `danger_…` call |
//! | no tokens in cookies or page URLs | only in the `Authorization` header |
//! | short-lived tokens | the server decides; they are refreshed without a wait |
//! | scoped tokens | what you ask for; a narrower grant is visible |
//!
//! # RFC 9700
//! Redirects of a browser, authorization codes, PKCE and refresh tokens ([§2.1], [§2.2.2],
//! [§4.1]–[§4.8], [§4.14], [§4.16], [§4.17]) are not part of this grant. [§3] is its attacker
//! model; ours is at the top.
//!
//! | section | answer |
//! | --- | --- |
//! | [§2.2.1], [§4.10.1] sender-constrained tokens | by client certificate, if the server binds tokens to it; by DPoP (feature `dpop`) |
//! | [§2.3], [§4.10.2] restricted privileges and audiences | `scopes`, `audience`, `resource`; one credential per API with [`Origins::keyed`](crate::select::Origins::keyed) |
//! | [§2.4] passwords | not offered |
//! | [§2.5] client authentication | asymmetric methods are offered; a KMS can keep the key |
//! | [§2.6] metadata, end-to-end TLS | [`discover`](crate::ClientCredentials::discover); plain HTTP behind a TLS proxy needs the `danger_…` call |
//! | [§4.9] leakage at the resource server | `Origins`: a counterfeit server is another origin |
//! | [§4.11] open redirection | see above |
//! | [§4.12] 307 redirects | the token endpoint's POST is never forwarded |
//! | [§4.13] proxies that end TLS | the proxy example removes the caller's `Authorization` and hop-by-hop headers before it adds a token |
//! | [§4.15] a client that poses as a user | the server's task |
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
