//! Secret text that is overwritten in memory when it is dropped.

use std::{mem, ops::Deref};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

/// A secret or another credential, encoded or not; overwritten when it is dropped.
///
/// It never grows: growing moves the text and leaves a copy behind. It has no `Debug`, so a type that holds it cannot show it
/// by mistake.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Wiped(Zeroizing<String>);

impl Wiped {
    /// Joins the parts, in memory that is allocated once at full size.
    pub(crate) fn concat(parts: &[&str]) -> Self {
        parts.concat().into()
    }

    /// The plain text, for a value that turns out not to be secret.
    #[cfg(feature = "config")]
    pub(crate) fn into_text(mut self) -> String {
        mem::take(&mut *self.0)
    }
}

impl<T: Into<String>> From<T> for Wiped {
    fn from(text: T) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl Deref for Wiped {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Wiped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Bytes of a request that contain a secret, shared with the client that sends it. They are overwritten when this is dropped,
/// unless the client still holds them.
#[derive(Default)]
pub(crate) struct Lent(Bytes);

impl Lent {
    pub(crate) fn new(bytes: &Bytes) -> Self {
        Self(bytes.clone())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Ok(mut bytes) = mem::take(&mut self.0).try_into_mut() {
            bytes.zeroize();
        }
    }
}
