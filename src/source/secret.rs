//! A client secret, and where it is kept.

use std::{fmt, fs, path::PathBuf};

use crate::error::Error;

/// A client secret: the text itself, or the file that holds it.
///
/// A file is read at each exchange, so that a secret that was rotated is picked up without a restart; and once more when
/// the server says `invalid_client`, in case it was rotated just then.
///
/// # Example
/// ```
/// use tower_bearer::{ClientCredentials, Secret};
///
/// let url = "https://auth.example.com/oauth2/token";
/// let from_text = ClientCredentials::builder(url, "my-client", "my-secret");
/// let from_a_file = ClientCredentials::builder(url, "my-client", Secret::file("/run/secrets/my-client"));
/// # let _ = (from_text, from_a_file);
/// ```
#[derive(Clone)]
pub struct Secret(Kept);

#[derive(Clone)]
enum Kept {
    Text(String),
    File(PathBuf),
}

impl Secret {
    /// The secret is in this file, alone but for white space around it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// The secret as it is now. Blocks on the file system.
    ///
    /// # Errors
    /// When there is none, or the file cannot be read.
    pub(super) fn read(&self) -> Result<String, Error> {
        let (secret, from) = match &self.0 {
            Kept::Text(text) => (text.clone(), "variable"),
            Kept::File(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|error| Error::unreadable_secret(path, error))?;
                (text.trim().to_owned(), "file")
            }
        };
        if secret.is_empty() {
            return Err(Error::configuration(format!(
                "the client secret is empty; is the {from} that it comes from set?"
            )));
        }
        Ok(secret)
    }

    /// Whether reading it again may give another one.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.0, Kept::File(_))
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(Kept::Text(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Text(_) => f.write_str("Secret([redacted])"),
            Kept::File(path) => f.debug_tuple("Secret::file").field(path).finish(),
        }
    }
}
