//! One token request, sent by the `oauth2` crate, and its answer.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use http::HeaderMap;
use oauth2::{
    ClientId, EndpointNotSet, EndpointSet, RequestTokenError, Scope, StandardRevocableToken,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use serde_json::{Map, Value};
use tower::ServiceExt;

#[cfg(feature = "dpop")]
use crate::client_credentials::dpop::Binding;
#[cfg(all(feature = "shared", feature = "rustls-no-provider"))]
use crate::client_credentials::transport::client_certificate::ClientCertificate;
use crate::{
    client_credentials::{
        auth::{
            ClientAuth, carried,
            read::{Prepared, ReadAuth},
        },
        check::{self, CLAIMS},
        discovery::{
            Discovery,
            endpoint::{Endpoint, Target},
        },
        grant::{Grant, ReadGrant},
        response::{
            self, Answer, INVALID_CLIENT, INVALID_GRANT, INVALID_REQUEST, Sent, TokenTypes,
        },
        transport::Transport,
    },
    error::{Error, ErrorKind, Requester},
    telemetry,
    token::{
        Token, TokenRequest,
        challenge::PROOF_REJECTIONS,
        remedies::{Additions, Origin, Remedies},
    },
    util::wiped::Wiped,
};

pub(crate) struct Credential {
    pub(crate) endpoint: Endpoint<Arc<Target>, Discovery>,
    pub(crate) client_id: String,
    pub(crate) auth: ClientAuth,
    pub(crate) grant: Grant,
    pub(crate) scopes: Vec<Scope>,
    /// Whether all of them must be granted.
    pub(crate) all_scopes: bool,
    pub(crate) params: Vec<(String, String)>,
    /// What each request has beside its own.
    pub(crate) headers: HeaderMap,
    /// What it does about an API's challenge, if it was told to do anything.
    pub(crate) remedies: Option<Arc<Remedies>>,
    /// The members of an answer that are kept with the token.
    pub(crate) keep: Vec<String>,
    /// The client certificate of the default transport.
    #[cfg(all(feature = "shared", feature = "rustls-no-provider"))]
    pub(crate) certificate: Option<ClientCertificate>,
    /// The key that tokens are bound to.
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Binding>,
    /// For errors.
    pub(crate) requester: Requester,
    /// The last token that was granted, kept so that no error shows it.
    pub(crate) given: Mutex<Option<Token>>,
}

/// The `oauth2` crate's client, which knows its endpoints by type.
type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Credential {
    /// Requests a token. An error says for whom.
    pub(crate) async fn token_request(
        self: Arc<Self>,
        request: TokenRequest,
        transport: Transport,
    ) -> Result<Token, Error> {
        // It is set already if this is the cache's second attempt.
        let _ = request.requester().set(self.requester.clone());
        let outcome = self.attempts(&request, &transport).await;
        outcome.map_err(|error| error.of(&self.requester))
    }

    /// One attempt, or two if the secret, or what the grant shows, was changed meanwhile.
    async fn attempts(
        self: &Arc<Self>,
        request: &TokenRequest,
        transport: &Transport,
    ) -> Result<Token, Error> {
        let (mut auth, mut grant) = (self.auth.read().await?, self.grant.read().await?);
        let mut hidden = self.hidden(&auth, &grant);
        hidden.extend(request.rejected_token().into_iter().flat_map(in_all_forms));
        let target = self.target(transport, &hidden).await?;
        // It may be at another host than the issuer.
        let named =
            |error: Error| error.of(&Requester::new(&self.client_id, target.token_url.url()));
        let outcome = self
            .attempt(request, &auth, &grant, &target, transport, hidden.clone())
            .await
            .map_err(named);
        if let (Endpoint::Discovered(discovery), Err(error)) = (&self.endpoint, &outcome)
            && may_have_moved(error)
        {
            discovery.doubt(&target);
        }
        let error = match outcome {
            Err(error) => error,
            outcome => return outcome,
        };
        // It may have been rotated after it was read, or the server switched a little earlier. If it cannot be read now,
        // the server's answer says more. Only what was rejected is read again: with the same secret, and another subject
        // token, a server would lock the client out.
        match error.oauth_code() {
            Some(INVALID_CLIENT) => {
                self.auth.reject(&auth);
                match self.auth.read().await {
                    Ok(reread) if !reread.is_same(&auth) => {
                        telemetry::secret_changed(&self.requester);
                        auth = reread;
                    }
                    _ => return Err(error),
                }
            }
            // The second one is RFC 8693's (section 2.2.2).
            Some(INVALID_GRANT | INVALID_REQUEST) if !self.grant.is_client_credentials() => {
                self.grant.reject(&grant);
                match self.grant.read().await {
                    Ok(reread) if !reread.is_same(&grant) => grant = reread,
                    _ => return Err(error),
                }
            }
            _ => return Err(error),
        }
        // The earlier ones must stay hidden too.
        hidden.extend(self.hidden(&auth, &grant));
        self.attempt(request, &auth, &grant, &target, transport, hidden)
            .await
            .map_err(named)
    }

    async fn target(&self, transport: &Transport, hidden: &[Wiped]) -> Result<Arc<Target>, Error> {
        match &self.endpoint {
            Endpoint::Known(target) => Ok(Arc::clone(target)),
            // The server could echo earlier secrets in its metadata.
            Endpoint::Discovered(discovery) => discovery.target(transport, hidden).await,
        }
    }

    /// One POST to the token endpoint. Two, where the server denies what an API had this one ask for: no API takes a
    /// credential's token away by what it asks for.
    async fn attempt(
        self: &Arc<Self>,
        request: &TokenRequest,
        auth: &ReadAuth,
        grant: &ReadGrant,
        target: &Target,
        transport: &Transport,
        hidden: Vec<Wiped>,
    ) -> Result<Token, Error> {
        let plain = Additions::default();
        let post = async |additions: &Additions, hidden| {
            self.post(additions, auth, grant, target, transport, hidden)
                .await
        };
        let Some(remedies) = &self.remedies else {
            return post(&plain, hidden).await;
        };
        let additions = remedies.additions(request.challenges());
        let again = hidden.clone();
        match post(&additions, hidden).await {
            Ok(token) => {
                remedies.granted(additions);
                Ok(token.with_remedies(remedies, Origin::Here))
            }
            Err(error) if !additions.is_empty() && is_about_what_was_asked(&error) => {
                remedies.denied();
                let token = post(&plain, again).await;
                Ok(token?.with_remedies(remedies, Origin::Here))
            }
            Err(error) => Err(error),
        }
    }

    /// One POST to the token endpoint. Two, where the server rejects the DPoP proof, and says what a better one has. The second
    /// has a new assertion as well: the server may have taken the first one already.
    async fn post(
        self: &Arc<Self>,
        additions: &Additions,
        auth: &ReadAuth,
        grant: &ReadGrant,
        target: &Target,
        transport: &Transport,
        hidden: Vec<Wiped>,
    ) -> Result<Token, Error> {
        #[cfg(feature = "dpop")]
        if let Some(binding) = &self.dpop {
            let token_url = target.token_url.url();
            let (known, again) = (binding.known(token_url), hidden.clone());
            let outcome = self
                .post_once(additions, auth, grant, target, transport, hidden)
                .await;
            return match outcome {
                Err(error) if binding.can_do_better(&error, token_url, &known) => {
                    self.post_once(additions, auth, grant, target, transport, again)
                        .await
                }
                outcome => outcome,
            };
        }
        self.post_once(additions, auth, grant, target, transport, hidden)
            .await
    }

    async fn post_once(
        self: &Arc<Self>,
        additions: &Additions,
        auth: &ReadAuth,
        grant: &ReadGrant,
        target: &Target,
        transport: &Transport,
        mut hidden: Vec<Wiped>,
    ) -> Result<Token, Error> {
        #[cfg(feature = "dpop")]
        let proving;
        #[cfg(feature = "dpop")]
        let transport = match &self.dpop {
            Some(binding) => {
                let (with_proof, shown) =
                    binding.proving(transport, target.token_url.url()).await?;
                hidden.extend(shown);
                proving = with_proof;
                &proving
            }
            None => transport,
        };
        let Prepared { carried, signed } = auth.prepare(target, &self.client_id, &hidden).await?;
        let scopes = self.scopes.iter().map(|scope| scope.as_str());
        let scopes: Vec<_> = scopes
            .chain(additions.scopes.iter().map(|scope| &**scope))
            .collect();
        let asked = grant.ask(target, &scopes, &hidden).await?;
        hidden.extend(carried.hidden(&self.client_id));
        hidden.extend(
            asked
                .assertion()
                .into_iter()
                .flat_map(carried::shown_in_all_forms),
        );
        let sent = Arc::new(Sent {
            signed,
            picked: target.method.filter(|_| matches!(auth, ReadAuth::Open(_))),
            proven: carried.description(),
            other_ways: carried.other_ways(),
            advice: asked.advice.clone(),
            asks_for_another_type: grant.asks_for_another_type(),
            at_most: grant.left(),
            hidden,
            types: self.token_types(),
            keep: self.keep.clone(),
            kept: OnceLock::new(),
        });
        let answered = Arc::clone(&sent);
        let (auth_type, secret) = carried.stand_in();
        let mut client: Client = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(auth_type)
            .set_token_uri(target.token_url.clone());
        if let Some(secret) = secret {
            client = client.set_client_secret(secret);
        }
        let mut token_request = client.exchange_client_credentials();
        for scope in scopes.into_iter().filter(|_| !asked.has_scopes) {
            token_request = token_request.add_scope(Scope::new(scope.to_owned()));
        }
        let asks_for_claims = additions.claims.is_some();
        for (name, value) in &self.params {
            if !(asks_for_claims && name == CLAIMS) {
                token_request = token_request.add_extra_param(name, value);
            }
        }
        if let Some(claims) = &additions.claims {
            let claims = self.claims_and(claims.clone());
            token_request =
                token_request.add_extra_param(CLAIMS, Value::Object(claims).to_string());
        }
        let send = {
            let (this, carried) = (Arc::clone(self), carried.clone());
            let transport = transport.clone();
            move |request: oauth2::HttpRequest| {
                let (request, lent) =
                    carried.add_to(request, &this.client_id, &asked.grant_type, asked.pairs());
                let (transport, sent) = (transport.clone(), Arc::clone(&sent));
                async move {
                    // Outlives the request, also where the token request is cut off.
                    let _lent = lent;
                    response::accept(transport.oneshot(request).await?, &sent)
                }
            }
        };
        match token_request.request_async(&send).await {
            Ok(answer) => self.granted(answer.into_token(&answered)?),
            Err(RequestTokenError::Request(error)) => Err(error),
            // `accept` leaves none of these. They may hold the body, token and all, so they end here.
            Err(
                RequestTokenError::Parse(..)
                | RequestTokenError::ServerResponse(_)
                | RequestTokenError::Other(_),
            ) => Err(Error::invalid_answer(
                "the token endpoint's answer cannot be read",
            )),
        }
    }

    /// The types of token that are accepted.
    fn token_types(&self) -> TokenTypes {
        #[cfg(feature = "dpop")]
        if let Some(binding) = &self.dpop {
            return match binding.accepts_bearer {
                true => TokenTypes::Either,
                false => TokenTypes::Dpop,
            };
        }
        TokenTypes::Bearer
    }

    /// The claims that an API asks for, and those that the builder was told to ask for, which stay as they are.
    fn claims_and(&self, mut claims: Map<String, Value>) -> Map<String, Value> {
        let own = self.params.iter().filter(|(name, _)| name == CLAIMS);
        for own in own.filter_map(|(_, own)| serde_json::from_str(own).ok()) {
            merge(&mut claims, own);
        }
        claims
    }

    /// Checks the granted scopes, which may be fewer than requested.
    ///
    /// # Errors
    /// A scope is missing, and all are required.
    fn granted(&self, token: Token) -> Result<Token, Error> {
        let last = self.lock_given().replace(token.clone());
        let missing = self.missing_from(&token);
        if missing.is_empty() {
            return Ok(token);
        }
        if self.all_scopes {
            return Err(Error::narrowed(&missing));
        }
        let is_news = last.is_none_or(|last| self.missing_from(&last) != missing);
        telemetry::narrowed(&self.requester, &missing, is_news);
        Ok(token)
    }

    /// The requested scopes that the server says it did not grant. A response without `scope` means that all were granted
    /// ([RFC 6749 §5.1]).
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    fn missing_from(&self, token: &Token) -> Vec<&str> {
        let Some(granted) = token.scopes() else {
            return Vec::new();
        };
        // Some servers put commas between them, and a comma may be in a scope as well.
        let granted: HashSet<&str> = granted
            .flat_map(|scope| scope.split(',').chain([scope]))
            .collect();
        let asked = self.scopes.iter().map(|scope| scope.as_str());
        asked.filter(|scope| !granted.contains(scope)).collect()
    }

    /// Texts that no error may show, in every form in which a server could echo them: the secret, parameters and headers that
    /// may be secret, what the grant shows, and the last token.
    fn hidden(&self, auth: &ReadAuth, grant: &ReadGrant) -> Vec<Wiped> {
        let mut hidden = auth.hidden(&self.client_id);
        let shown = grant.secrets().into_iter();
        hidden.extend(shown.flat_map(|it| carried::shown_in_all_forms(it)));
        let params = self.params.iter().filter(|(name, _)| {
            ![check::AUDIENCE, check::CLIENT_ID, check::RESOURCE].contains(&&**name)
        });
        let headers = self.headers.values().filter(|value| value.is_sensitive());
        let texts = params
            .map(|(_, value)| &**value)
            .chain(headers.filter_map(|value| value.to_str().ok()));
        // A short word is not a secret, and hiding it would garble the server's text.
        for text in texts.filter(|text| text.len() >= 8) {
            hidden.extend(carried::in_all_forms(&self.client_id, text));
        }
        hidden.extend(self.lock_given().iter().flat_map(in_all_forms));
        hidden
    }

    fn lock_given(&self) -> MutexGuard<'_, Option<Token>> {
        // A lock around a single value is never left half-changed.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_all_forms(token: &Token) -> Vec<Wiped> {
    carried::alone_in_all_forms(token.expose_secret())
}

/// Puts the members of one object over those of another, and so on within the members that both have.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// Whether the server denies what is asked for, and not the client that asks.
fn is_about_what_was_asked(error: &Error) -> bool {
    error.is_denied()
        && !matches!(
            error.oauth_code(),
            Some(INVALID_CLIENT | "unauthorized_client")
        )
        && !error
            .oauth_code()
            .is_some_and(|code| PROOF_REJECTIONS.contains(&code))
}

/// Whether the token endpoint may have moved or changed what it accepts.
fn may_have_moved(error: &Error) -> bool {
    match error.status() {
        Some(status) => response::is_wrong_place(status),
        // There was no answer, or the metadata ruled the request out.
        None => matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied),
    }
}
