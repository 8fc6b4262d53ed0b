//! A client secret and its storage.

use std::{
    env::{self, VarError},
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::task::spawn_blocking;
use tower::BoxError;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    cache::{TokenCache, TokenState},
    error::Error,
    util::wiped::Wiped,
};

/// A client secret, assertion or private key: the text itself, or where it is stored.
///
/// | where | read | surrounding white space |
/// | --- | --- | --- |
/// | text: `From` a string | never | kept, except line ends at the end |
/// | [`from_env`](Self::from_env) | immediately | trimmed |
/// | [`from_file`](Self::from_file) | at each token request | trimmed |
/// | [`from_provider`](Self::from_provider) | at each token request | kept, except line ends at the end |
/// | [`from_cache`](Self::from_cache) | at each token request | none |
///
/// A byte order mark (U+FEFF) at the start, as some editors on Windows write it, is not part of the secret. A blank secret is
/// an error, and so is one in UTF-16.
///
/// A secret that is read at each token request can be rotated without a restart. It is read again when the server answers
/// `invalid_client`, in case it was rotated at that moment. The client certificate and the trusted roots are read for each
/// connection instead.
///
/// # In memory
/// The secret is overwritten when it is dropped. So are the copies that this crate makes: the text that was read, its encoded
/// forms, and the request's form and header once the transport has dropped them. This crate cannot overwrite other copies:
/// those of a provider or the caller, the process environment, the transport's buffers, text that a server echoes, and those
/// that the cryptography provider and the PEM decoder make of a private key.
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, Secret};
///
/// let url = "https://auth.example.com/oauth2/token";
/// let from_text = ClientCredentials::builder(url, "my-client", "my-secret");
/// let from_a_variable = ClientCredentials::builder(url, "my-client", Secret::from_env("MY_CLIENT_SECRET"));
/// let from_a_file = ClientCredentials::builder(url, "my-client", Secret::from_file("/run/secrets/my-client"));
///
/// # async fn read_from_vault() -> Result<String, std::io::Error> { Ok("my-secret".to_owned()) }
/// let from_a_vault = ClientCredentials::builder(url, "my-client", Secret::from_provider(|| read_from_vault()));
/// # let _ = (from_text, from_a_variable, from_a_file, from_a_vault);
/// ```
#[derive(Clone)]
pub struct Secret(Kept);

#[derive(Clone)]
enum Kept {
    Text(Wiped),
    Variable {
        name: String,
        /// The value, or what is wrong with it.
        value: Result<Wiped, &'static str>,
    },
    File(PathBuf),
    Provider(Arc<Provider>),
    Cache(TokenCache),
}

type Provider = dyn Fn() -> Provided + Send + Sync;
type Provided = Pin<Box<dyn Future<Output = Result<Wiped, BoxError>> + Send>>;

impl Secret {
    /// Reads the secret from an environment variable, trimmed.
    ///
    /// The variable is read once, by this call: a process's environment does not change from outside. If it is not set or
    /// empty, the builder returns an error.
    #[doc(alias = "env")]
    #[doc(alias = "var")]
    pub fn from_env(name: impl Into<String>) -> Self {
        let name = name.into();
        let value = read_variable(&name);
        Self(Kept::Variable { name, value })
    }

    /// Reads the secret from a file at each token request, trimmed.
    ///
    /// The path must be a regular file or a link to one, of less than 64 KiB.
    #[doc(alias = "file")]
    #[doc(alias = "from_path")]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// Calls `provide` for the secret at each token request, for example to read it from a vault.
    ///
    /// The time that it takes counts towards the token request's deadline.
    ///
    /// # Errors
    /// An error of `provide` becomes the cause of a transient [`Error`](crate::Error) of kind
    /// [`Source`](crate::ErrorKind::Source). The cause is displayed unchanged, so it must not contain a secret.
    ///
    /// # Cancellation
    /// The future is dropped when the token request's timeout is over.
    #[doc(alias = "provider")]
    #[doc(alias = "from_fn")]
    pub fn from_provider<F, T, E>(provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<BoxError>,
    {
        let provide = move || -> Provided {
            let provided = provide();
            Box::pin(async { provided.await.map(Wiped::from).map_err(Into::into) })
        };
        Self(Kept::Provider(Arc::new(provide)))
    }

    /// Uses the current access token of another cache, for chained credentials: one credential's token is what another presents.
    ///
    /// Each token request takes the token that the cache then has. The cache refreshes it as usual, and requests one first if it
    /// has none. If the server rejects the token, the cache forgets it, and the token request is retried once with the next.
    ///
    /// # Errors
    /// An error of that cache becomes the error of the token request.
    ///
    /// # Example
    /// One credential's token is the client assertion of another:
    /// ```
    /// use tower_bearer::{ClientAuth, ClientCredentials, Secret, TokenCache, token::FixedToken};
    ///
    /// # fn main() -> Result<(), tower_bearer::Error> {
    /// # let blueprint = FixedToken::new("t")?;
    /// let blueprint = TokenCache::new(blueprint);
    /// let agent = ClientCredentials::builder(
    ///     "https://auth.example.com/oauth2/token",
    ///     "my-agent",
    ///     ClientAuth::assertion(Secret::from_cache(blueprint)),
    /// );
    /// # let _ = agent;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_cache(cache: TokenCache) -> Self {
        Self(Kept::Cache(cache))
    }

    /// The text itself.
    pub(crate) fn of(text: Wiped) -> Self {
        Self(Kept::Text(text))
    }

    /// Reads the current secret. `what` names it in errors.
    ///
    /// # Errors
    /// The secret is empty or cannot be read.
    pub(crate) async fn read(&self, what: &'static str) -> Result<Wiped, Error> {
        match &self.0 {
            Kept::Provider(provide) => match provide().await {
                Ok(secret) => bare(&secret).map(Wiped::from).map_err(|problem| {
                    let message = format!("the provider of the {what} returned one that {problem}");
                    Error::provided(message, None)
                }),
                Err(error) => Err(Error::provided(
                    format!("the provider of the {what} failed"),
                    Some(error),
                )),
            },
            Kept::File(path) => {
                let path = path.clone();
                spawn_blocking(move || read_file(&path, what))
                    .await
                    .unwrap_or_else(|_| Err(Error::interrupted()))
            }
            Kept::Cache(cache) => Ok(cache.get().await?.expose_secret().into()),
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what),
        }
    }

    /// Reads it, and what is left of it if it is the token of a cache.
    pub(crate) async fn read_with_rest(
        &self,
        what: &'static str,
    ) -> Result<(Wiped, Option<Duration>), Error> {
        let Kept::Cache(cache) = &self.0 else {
            return Ok((self.read(what).await?, None));
        };
        let token = cache.get().await?;
        // The token knows its end by the wall clock. The cache knows more, but may have another token by now.
        let by_cache = match cache.state().token() {
            TokenState::Fresh { usable_for } | TokenState::Stale { usable_for } => Some(usable_for),
            _ => None,
        };
        let left = token.remaining().into_iter().chain(by_cache).min();
        Ok((token.expose_secret().into(), left))
    }

    /// The server rejected `text`, which was read here: another read should return a newer one, if there is one.
    pub(crate) fn reject(&self, text: &str) {
        if let Kept::Cache(cache) = &self.0
            && let Some(Some(current)) =
                cache.read(|token| (token.expose_secret() == text).then(|| token.clone()))
        {
            cache.invalidate(&current);
        }
    }

    /// Reads the secret without calling a provider, to check it when a credential is built. Blocks on the file system.
    ///
    /// # Errors
    /// The same as for [`read`](Self::read).
    pub(crate) fn peek(&self, what: &'static str) -> Result<Option<Wiped>, Error> {
        match &self.0 {
            Kept::Provider(_) | Kept::Cache(_) => Ok(None),
            Kept::File(path) => read_file(path, what).map(Some),
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what).map(Some),
        }
    }

    fn at_hand(&self, what: &str) -> Result<Wiped, Error> {
        match &self.0 {
            Kept::Text(text) => bare(text).map(Wiped::from).map_err(|problem| {
                let advice = match problem {
                    BLANK => "; check that the variable it comes from is set",
                    _ => "",
                };
                Error::configuration(format!("the {what} {problem}{advice}"))
            }),
            Kept::Variable { name, value } => {
                let value = value.as_ref().map_err(|problem| *problem);
                let value = value.and_then(|value| bare(value));
                value.map(|it| it.trim().into()).map_err(|problem| {
                    Error::configuration(format!(
                        "the environment variable {name}, from which the {what} is read, {problem}"
                    ))
                })
            }
            // None of them is at hand.
            Kept::File(_) | Kept::Provider(_) | Kept::Cache(_) => {
                Err(Error::configuration(format!("the {what} {BLANK}")))
            }
        }
    }
}

/// Removes what is not part of a secret: a byte order mark before it, and line ends after it.
///
/// # Errors
/// What is wrong with it.
fn bare(text: &str) -> Result<&str, &'static str> {
    let bare = text
        .trim_start_matches(BYTE_ORDER_MARK)
        .trim_end_matches(['\r', '\n']);
    if bare.trim().is_empty() {
        return Err(BLANK);
    }
    // ASCII in UTF-16 that is read as UTF-8 has one for each character.
    match bare.contains('\0') {
        true => Err(UTF_16),
        false => Ok(bare),
    }
}

pub(crate) const BYTE_ORDER_MARK: char = '\u{FEFF}';
const BLANK: &str = "is empty or blank";
const UTF_16: &str = "is in UTF-16, or has NUL characters; write it as UTF-8";

fn read_variable(name: &str) -> Result<Wiped, &'static str> {
    match env::var(name) {
        Ok(value) => Ok(value.into()),
        Err(VarError::NotPresent) => Err("is not set"),
        Err(VarError::NotUnicode(value)) => {
            value.into_encoded_bytes().zeroize();
            Err("is not UTF-8")
        }
    }
}

fn read_file(path: &Path, what: &str) -> Result<Wiped, Error> {
    let secret = read_whole(path)
        .map_err(|error| Error::secret_file(what, path, "cannot be read", Some(error)))?;
    match bare(&secret) {
        Ok(secret) => Ok(secret.trim().into()),
        Err(problem) => Err(Error::secret_file(what, path, problem, None)),
    }
}

/// Reads a regular file of less than [`LONGEST`] bytes; anything else is an error.
fn read_whole(path: &Path) -> io::Result<Wiped> {
    // Opening a pipe may block this thread for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // Allocated in full: growing it would leave a part of the secret in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let read = File::open(path)?
        .take(LONGEST as u64)
        .read_to_end(&mut bytes)?;
    if read == LONGEST {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => {
            let is_utf_16 = bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF");
            let problem = match is_utf_16 {
                true => "it is in UTF-16; write it as UTF-8",
                false => "it is not UTF-8",
            };
            Err(io::Error::new(io::ErrorKind::InvalidData, problem))
        }
    }
}

/// In bytes.
const LONGEST: usize = 64 * 1024;

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self::of(Wiped::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Text(_) => f.write_str("Secret([redacted])"),
            Kept::Variable { name, .. } => f.debug_tuple("Secret::from_env").field(name).finish(),
            Kept::File(path) => f.debug_tuple("Secret::from_file").field(path).finish(),
            Kept::Provider(_) => f.write_str("Secret::from_provider(..)"),
            Kept::Cache(_) => f.write_str("Secret::from_cache(..)"),
        }
    }
}
