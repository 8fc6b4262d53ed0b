//! A client secret, and where it is kept.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

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
        match &self.0 {
            Kept::Text(text) if text.is_empty() => Err(Error::configuration(
                "the client secret is empty; is the variable that it comes from set?",
            )),
            Kept::Text(text) => Ok(text.clone()),
            Kept::File(path) => {
                let secret = read_start(path)
                    .map_err(|error| Error::secret_file(path, "cannot be read", Some(error)))?;
                match secret.trim() {
                    "" => Err(Error::secret_file(path, "is empty", None)),
                    secret => Ok(secret.to_owned()),
                }
            }
        }
    }

    /// Whether reading it again may give another one.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.0, Kept::File(_))
    }
}

/// Whatever is at that path, no more than a secret's worth is read.
fn read_start(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
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
            Kept::File(path) => f.debug_tuple("Secret::file").field(path).finish(),
        }
    }
}
