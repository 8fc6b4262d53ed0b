//! The provider of cryptography below rustls.

use std::sync::Arc;

use rustls::{crypto::CryptoProvider, pki_types::PrivateKeyDer, sign::SigningKey};

use crate::error::Error;

/// The provider that the program has installed, or else the one of this crate's feature.
///
/// It is named, and nothing is installed. rustls picks a provider by itself only where the tree has one of them, and panics where
/// it has two; and which provider a process has is for the program to say, not for one of its libraries.
///
/// # Errors
/// When there is neither.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, Error> {
    match CryptoProvider::get_default() {
        Some(installed) => Ok(Arc::clone(installed)),
        None => of_feature().ok_or_else(missing),
    }
}

/// The key of a client certificate, for the provider that connections are made with.
///
/// # Errors
/// What rustls says of a key that it cannot use. Nothing of the key is in it.
pub(crate) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, String> {
    if let Some(installed) = CryptoProvider::get_default() {
        // It may be one of a hardware module or of FIPS. It takes a copy, which is its own to wipe.
        return installed
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|error| error.to_string());
    }
    // These borrow the key, and the caller wipes it.
    #[cfg(feature = "rustls-aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::sign::any_supported_type(key)
        .map_err(|error| error.to_string());
    #[cfg(all(feature = "rustls-ring", not(feature = "rustls-aws-lc-rs")))]
    return rustls::crypto::ring::sign::any_supported_type(key).map_err(|error| error.to_string());
    #[cfg(not(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring")))]
    Err(missing().to_string())
}

/// With both features it is aws-lc-rs, as it is the default.
fn of_feature() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "rustls-aws-lc-rs")]
    return Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "rustls-ring", not(feature = "rustls-aws-lc-rs")))]
    return Some(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring")))]
    None
}

fn missing() -> Error {
    Error::configuration(
        "TLS has no provider of cryptography; install one at the start of the program with rustls' \
         `CryptoProvider::install_default`, or switch on the feature `rustls-aws-lc-rs` or `rustls-ring` of tower-bearer",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_provider_is_told_with_what_to_do() {
        let told = missing().to_string();
        for part in ["install_default", "rustls-aws-lc-rs", "rustls-ring"] {
            assert!(told.contains(part), "{told}");
        }
    }

    /// Promise: S9
    #[test]
    fn the_provider_is_chosen_without_installing_it() {
        let chosen = provider();
        let named = cfg!(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring"));
        assert_eq!(chosen.is_ok(), named);
        assert!(CryptoProvider::get_default().is_none());
    }
}
