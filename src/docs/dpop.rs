//! DPoP: tokens that are of no use to a thief.
//!
//! A bearer token is good for anyone who has it: in a log, in a proxy, in a memory dump. A token that is bound to a key ([RFC 9449]) needs
//! a proof by that key with each request, and the key never leaves the client.
//!
//! # When to use it
//! If the authorization server or the API demands it: services of a new Okta organization do by default, FAPI 2.0 demands it or
//! mTLS. Or if a token may be seen by others on its way or at rest, and its lifetime cannot be short enough.
//!
//! mTLS ([`ClientAuth::tls`](crate::ClientAuth::tls)) binds tokens too, and signs once for each connection. It needs TLS from the
//! client to the API without a proxy that ends it. DPoP needs nothing of the connection.
//!
//! # What it costs
//! - One signature for each request to the API.
//! - If the API uses nonces: each first request to an origin is sent twice. Then the newest nonce is kept from every answer, and
//!   each request is sent once, unless the nonce changed in between. At worst a request is sent four times: the token and both proofs
//!   rejected.
//! - A copy of each request until it is answered, as for the retry after a rejected token.
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449
