//! The parts of an identity.

/// Takes one part: its name and its value, which may be secret.
pub(crate) type Add<'a> = &'a mut (dyn FnMut(&str, &[u8]) + Send);
