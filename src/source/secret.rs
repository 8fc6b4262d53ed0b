//! A client secret, and where it is kept.

use std::{
    env::{self, VarError},
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use tokio::task::spawn_blocking;
use tower::BoxError;

use crate::error::Error;

/// A client secret, or an assertion or a private key in its place: the text itself, or where it is kept.
///
/// | where | read | white space around it |
/// | --- | --- | --- |
/// | text: `From` a string | never | is part of it |
/// | [`env`](Self::env) | at once | is not |
/// | [`file`](Self::file) | at each exchange | is not |
/// | [`provider`](Self::provider) | at each exchange | is part of it |
///
/// What is read at each exchange is picked up without a restart when it is rotated. It is read once more when the server
/// says `invalid_client`, in case it was rotated just then; but for the connection's client certificate, which is read for
/// each connection.
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, Secret};
///
/// let url = "https://auth.example.com/oauth2/token";
/// let from_text = ClientCredentials::builder(url, "my-client", "my-secret");
/// let from_a_variable = ClientCredentials::builder(url, "my-client", Secret::env("MY_CLIENT_SECRET"));
/// let from_a_file = ClientCredentials::builder(url, "my-client", Secret::file("/run/secrets/my-client"));
///
/// # async fn read_from_vault() -> Result<String, std::io::Error> { Ok("my-secret".to_owned()) }
/// let from_a_vault = ClientCredentials::builder(url, "my-client", Secret::provider(|| read_from_vault()));
/// # let _ = (from_text, from_a_variable, from_a_file, from_a_vault);
/// ```
#[derive(Clone)]
pub struct Secret(Kept);

#[derive(Clone)]
enum Kept {
    Text(String),
    Variable {
        name: String,
        value: Result<String, VarError>,
    },
    File(PathBuf),
    Provider(Arc<Provider>),
}

type Provider = dyn Fn() -> Provided + Send + Sync;
type Provided = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

impl Secret {
    /// The secret is in this environment variable, alone but for white space around it.
    ///
    /// It is read here and now, and not again: the environment of a process does not change from outside. A variable that
    /// is not set, or empty, is an error of the builder.
    pub fn env(name: impl Into<String>) -> Self {
        let name = name.into();
        // Such a name cannot be set, and on some systems asking for it panics.
        let value = match name.is_empty() || name.contains(['=', '\0']) {
            true => Err(VarError::NotPresent),
            false => env::var(&name),
        };
        Self(Kept::Variable { name, value })
    }

    /// The secret is in this file, alone but for white space around it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// The secret is what `provide` gives, such as a vault's answer. It is called at each exchange, and its time is part of
    /// the exchange's.
    ///
    /// # Errors
    /// What it fails with becomes the cause of an [`Error`](crate::Error) of kind
    /// [`Source`](crate::ErrorKind::Source), which is transient. The cause is shown as it is: it should name no secret.
    pub fn provider<F, T, E>(provide: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<String>,
        E: Into<BoxError>,
    {
        let provide = move || -> Provided {
            let provided = provide();
            Box::pin(async { provided.await.map(Into::into).map_err(Into::into) })
        };
        Self(Kept::Provider(Arc::new(provide)))
    }

    /// The secret as it is now. `what` it is, is for the errors.
    ///
    /// # Errors
    /// When there is none, or it cannot be had.
    pub(super) async fn read(&self, what: &'static str) -> Result<String, Error> {
        match &self.0 {
            Kept::Provider(provide) => match provide().await {
                Ok(secret) if secret.is_empty() => Err(Error::provided(
                    format!("the provider of the {what} gave an empty one"),
                    None,
                )),
                Ok(secret) => Ok(secret),
                Err(error) => Err(Error::provided(
                    format!("the provider of the {what} failed"),
                    Some(error),
                )),
            },
            Kept::File(path) => {
                let path = path.clone();
                spawn_blocking(move || read_file(&path, what))
                    .await
                    .unwrap_or_else(|_| Err(Error::shut_down()))
            }
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what),
        }
    }

    /// The secret if it can be had without waiting for others, for a look when a credential is built. Blocks on the file
    /// system.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(super) fn peek(&self, what: &'static str) -> Result<Option<String>, Error> {
        match &self.0 {
            Kept::Provider(_) => Ok(None),
            Kept::File(path) => read_file(path, what).map(Some),
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what).map(Some),
        }
    }

    fn at_hand(&self, what: &str) -> Result<String, Error> {
        match &self.0 {
            Kept::Text(text) if !text.is_empty() => Ok(text.clone()),
            Kept::Variable {
                name,
                value: Ok(value),
            } => match value.trim() {
                "" => Err(Error::configuration(format!(
                    "the environment variable {name}, which is to hold the {what}, is empty"
                ))),
                value => Ok(value.to_owned()),
            },
            Kept::Variable {
                name,
                value: Err(error),
            } => {
                let problem = match error {
                    VarError::NotPresent => "is not set",
                    VarError::NotUnicode(_) => "is not UTF-8",
                };
                Err(Error::configuration(format!(
                    "the environment variable {name}, which is to hold the {what}, {problem}"
                )))
            }
            Kept::Text(_) | Kept::File(_) | Kept::Provider(_) => Err(Error::configuration(
                format!("the {what} is empty; is the variable that it comes from set?"),
            )),
        }
    }

    /// Whether reading it again may give another one.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.0, Kept::File(_) | Kept::Provider(_))
    }
}

fn read_file(path: &Path, what: &str) -> Result<String, Error> {
    let secret = read_whole(path)
        .map_err(|error| Error::secret_file(what, path, "cannot be read", Some(error)))?;
    match secret.trim() {
        "" => Err(Error::secret_file(what, path, "is empty", None)),
        secret => Ok(secret.to_owned()),
    }
}

/// Whatever is at that path, no more than a secret's worth is read, and a part of one is none.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    if read as u64 == LONGEST {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    Ok(text)
}

/// In bytes.
const LONGEST: u64 = 64 * 1024;

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(Kept::Text(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Text(_) => f.write_str("Secret([redacted])"),
            Kept::Variable { name, .. } => f.debug_tuple("Secret::env").field(name).finish(),
            Kept::File(path) => f.debug_tuple("Secret::file").field(path).finish(),
            Kept::Provider(_) => f.write_str("Secret::provider(..)"),
        }
    }
}
