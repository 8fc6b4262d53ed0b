//! Text that proves something, and that memory is not to keep.

use std::{mem, ops::Deref};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

/// A secret, whatever else proves who a client is, or a form of either: overwritten when it is dropped.
///
/// It never grows, as a text that grows is moved and leaves what it was behind. It has no `Debug`, so nothing that holds it
/// shows it by mistake.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Wiped(Zeroizing<String>);

impl Wiped {
    /// The parts, one after the other, in memory that is as large as all of them from the start.
    pub(crate) fn concat(parts: &[&str]) -> Self {
        parts.concat().into()
    }

    /// The text alone, for what turns out not to be secret.
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

/// A part of a request with a secret in it, which whoever sends the request holds as well: overwritten when this is dropped,
/// if they have let go of it by then.
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
