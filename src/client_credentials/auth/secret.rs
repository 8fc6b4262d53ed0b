//! A client secret, and where it is kept.

use std::{
    env::{self, VarError},
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use tokio::task::spawn_blocking;
use tower::BoxError;
use zeroize::{Zeroize, Zeroizing};

use crate::{error::Error, util::wiped::Wiped};

/// A client secret, or an assertion or a private key in its place: the text itself, or where it is kept.
///
/// | where | read | white space around it |
/// | --- | --- | --- |
/// | text: `From` a string | never | is part of it |
/// | [`env`](Self::env) | at once | is not |
/// | [`file`](Self::file) | at each token request | is not |
/// | [`provider`](Self::provider) | at each token request | is part of it |
///
/// What is read at each token request is picked up without a restart when it is rotated. It is read once more when the server
/// says `invalid_client`, in case it was rotated just then; but for the connection's client certificate and the roots that it
/// trusts, which are read for each connection.
///
/// # In memory
/// It is overwritten when it is dropped, and so is what is made of it here: what was read, the forms in which it is sent, and
/// the request's form and header once the transport has let go of them. Out of reach are the copies of others: the text that
/// a provider or the caller still has, the process's environment, a transport's buffers, what a server echoes, and what the
/// provider of cryptography and the decoder of PEM make of a private key.
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
    Text(Wiped),
    Variable {
        name: String,
        /// Or what is wrong with it.
        value: Result<Wiped, &'static str>,
    },
    File(PathBuf),
    Provider(Arc<Provider>),
}

type Provider = dyn Fn() -> Provided + Send + Sync;
type Provided = Pin<Box<dyn Future<Output = Result<Wiped, BoxError>> + Send>>;

impl Secret {
    /// The secret is in this environment variable, alone but for white space around it.
    ///
    /// It is read here and now, and not again: the environment of a process does not change from outside. A variable that
    /// is not set, or empty, is an error of the builder.
    pub fn env(name: impl Into<String>) -> Self {
        let name = name.into();
        // Such a name cannot be set, and on some systems asking for it panics.
        let value = match name.is_empty() || name.contains(['=', '\0']) {
            true => Err(NOT_SET),
            false => read_variable(&name),
        };
        Self(Kept::Variable { name, value })
    }

    /// The secret is in this file, alone but for white space around it. It has to be a file, or a link to one.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// The secret is what `provide` gives, such as a vault's answer. It is called at each token request, and its time is part of
    /// the token request's.
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
            Box::pin(async { provided.await.map(Wiped::from).map_err(Into::into) })
        };
        Self(Kept::Provider(Arc::new(provide)))
    }

    /// The text itself.
    pub(crate) fn of(text: Wiped) -> Self {
        Self(Kept::Text(text))
    }

    /// The secret as it is now. `what` it is, is for the errors.
    ///
    /// # Errors
    /// When there is none, or it cannot be had.
    pub(crate) async fn read(&self, what: &'static str) -> Result<Wiped, Error> {
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
                    .unwrap_or_else(|_| Err(Error::interrupted()))
            }
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what),
        }
    }

    /// The secret if it can be had without waiting for others, for a look when a credential is built. Blocks on the file
    /// system.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub(crate) fn peek(&self, what: &'static str) -> Result<Option<Wiped>, Error> {
        match &self.0 {
            Kept::Provider(_) => Ok(None),
            Kept::File(path) => read_file(path, what).map(Some),
            Kept::Text(_) | Kept::Variable { .. } => self.at_hand(what).map(Some),
        }
    }

    fn at_hand(&self, what: &str) -> Result<Wiped, Error> {
        match &self.0 {
            Kept::Text(text) if !text.is_empty() => Ok(text.clone()),
            Kept::Variable {
                name,
                value: Ok(value),
            } => match value.trim() {
                "" => Err(Error::configuration(format!(
                    "the environment variable {name}, which is to hold the {what}, is empty"
                ))),
                value => Ok(value.into()),
            },
            Kept::Variable {
                name,
                value: Err(problem),
            } => Err(Error::configuration(format!(
                "the environment variable {name}, which is to hold the {what}, {problem}"
            ))),
            Kept::Text(_) | Kept::File(_) | Kept::Provider(_) => Err(Error::configuration(
                format!("the {what} is empty; is the variable that it comes from set?"),
            )),
        }
    }

    /// Whether reading it again may give another one.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.0, Kept::File(_) | Kept::Provider(_))
    }
}

fn read_variable(name: &str) -> Result<Wiped, &'static str> {
    match env::var(name) {
        Ok(value) => Ok(value.into()),
        Err(VarError::NotPresent) => Err(NOT_SET),
        Err(VarError::NotUnicode(value)) => {
            value.into_encoded_bytes().zeroize();
            Err("is not UTF-8")
        }
    }
}

const NOT_SET: &str = "is not set";

fn read_file(path: &Path, what: &str) -> Result<Wiped, Error> {
    let secret = read_whole(path)
        .map_err(|error| Error::secret_file(what, path, "cannot be read", Some(error)))?;
    match secret.trim() {
        "" => Err(Error::secret_file(what, path, "is empty", None)),
        secret => Ok(secret.into()),
    }
}

/// Whatever is at that path, no more than a secret's worth is read, and a part of one is none.
fn read_whole(path: &Path) -> io::Result<Wiped> {
    // To open a pipe may take for ever, and with it the thread that does.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    // As large from the start as it may get: where it grew it would leave a part of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let read = File::open(path)?
        .take(LONGEST as u64)
        .read_to_end(&mut bytes)?;
    if read == LONGEST {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not UTF-8",
        )),
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
            Kept::Variable { name, .. } => f.debug_tuple("Secret::env").field(name).finish(),
            Kept::File(path) => f.debug_tuple("Secret::file").field(path).finish(),
            Kept::Provider(_) => f.write_str("Secret::provider(..)"),
        }
    }
}
