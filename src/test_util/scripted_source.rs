//! A source of tokens that does as it is told.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tower_service::Service;

use super::lock;
use crate::{
    error::Error,
    token::{Token, TokenRequest},
};

/// A [`TokenSource`](crate::TokenSource) that takes its outcomes from a list, one for each token request, and repeats the last.
///
/// Use it where the token endpoint does not matter: for what your code makes of a token's lifetime, of an error, of a source
/// that hangs. Clones are handles of one source.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_bearer::{
///     ErrorKind, Token, TokenCache,
///     test_util::{self, ScriptedSource},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower_bearer::Error> {
/// let source = ScriptedSource::new([
///     Err(test_util::error(ErrorKind::Denied)),
///     Ok(Token::new("t")?.with_lifetime(Duration::from_secs(60))),
/// ]);
/// let cache = TokenCache::new(source.clone());
/// assert!(cache.get().await.unwrap_err().is_denied());
///
/// // A denial is not tried again for half a minute.
/// tokio::time::sleep(Duration::from_secs(31)).await;
/// assert_eq!(cache.get().await?.expose_secret(), "t");
/// source.assert_token_requests(2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedSource {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    outcomes: VecDeque<Outcome>,
    token_requests: usize,
}

/// What comes of a call of a [`ScriptedSource`]. A `Result` of a token converts into it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The source gives this token. [`Token::with_lifetime`] sets its lifetime.
    Token(Token),
    /// The source fails. [`error`](super::error) makes errors of each kind.
    Error(Error),
    /// The source never answers.
    Hang,
}

impl From<Result<Token, Error>> for Outcome {
    fn from(result: Result<Token, Error>) -> Self {
        match result {
            Ok(token) => Self::Token(token),
            Err(error) => Self::Error(error),
        }
    }
}

impl ScriptedSource {
    /// Creates a source with these outcomes. Without any, it never answers.
    pub fn new<I>(outcomes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Outcome>,
    {
        let outcomes = outcomes.into_iter().map(Into::into).collect();
        let script = Script {
            outcomes,
            token_requests: 0,
        };
        Self {
            script: Arc::new(Mutex::new(script)),
        }
    }

    /// How often the source was called.
    #[must_use]
    pub fn token_requests(&self) -> usize {
        lock(&self.script).token_requests
    }

    /// Checks how often the source was called.
    ///
    /// # Panics
    /// If it was another number.
    #[track_caller]
    pub fn assert_token_requests(&self, expected: usize) {
        let seen = self.token_requests();
        assert!(
            seen == expected,
            "expected token requests: {expected}, but there were {seen}"
        );
    }
}

impl Service<TokenRequest> for ScriptedSource {
    type Response = Token;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Token, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: TokenRequest) -> Self::Future {
        let mut script = lock(&self.script);
        script.token_requests += 1;
        let outcome = match script.outcomes.len() {
            0 | 1 => script.outcomes.front().cloned(),
            _ => script.outcomes.pop_front(),
        };
        Box::pin(async {
            match outcome {
                Some(Outcome::Token(token)) => Ok(token),
                Some(Outcome::Error(error)) => Err(error),
                Some(Outcome::Hang) | None => std::future::pending().await,
            }
        })
    }
}
