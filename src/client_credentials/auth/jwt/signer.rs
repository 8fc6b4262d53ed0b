//! Keys that a service or a module holds.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use tower::BoxError;

use super::algorithm::SigningAlgorithm;

/// Signs with a key held elsewhere: a key management service or a hardware module.
///
/// A local key needs no signer: see [`SigningKey`](crate::client_credentials::SigningKey).
///
/// # Example
/// ```
/// use std::pin::Pin;
/// use bytes::Bytes;
/// use tower::BoxError;
/// use tower_bearer::{client_credentials::{Signer, SigningAlgorithm, SigningKey}, ClientAuth};
///
/// struct Kms { /* a client of the service, the key's name */ }
///
/// impl Signer for Kms {
///     fn algorithm(&self) -> SigningAlgorithm {
///         SigningAlgorithm::Ps256
///     }
///
///     fn sign(&self, input: Bytes) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>> {
///         Box::pin(async move {
///             // … call the service
///             # let _ = input;
///             Ok(vec![0; 256])
///         })
///     }
/// }
///
/// let auth = ClientAuth::private_key_jwt(SigningKey::held_by(Kms {}).with_key_id("2026-11"));
/// # let _ = auth;
/// ```
pub trait Signer: Send + Sync + 'static {
    /// Returns the algorithm of the signatures.
    fn algorithm(&self) -> SigningAlgorithm;

    /// Signs `input`, the encoded header and claims, and returns the raw signature bytes.
    ///
    /// For [`Es256`](SigningAlgorithm::Es256) the signature is R and S, 32 bytes each, and for
    /// [`Es384`](SigningAlgorithm::Es384) 48 bytes each ([RFC 7518 §3.4]). Many services return DER instead; convert it.
    ///
    /// It is called once for each request to the token endpoint. The time that it takes counts towards the token request's
    /// deadline.
    ///
    /// # Errors
    /// An error becomes the cause of a transient [`Error`](crate::Error) of kind [`Source`](crate::ErrorKind::Source).
    ///
    /// # Cancellation
    /// The future is dropped when the token request's timeout is over.
    ///
    /// [RFC 7518 §3.4]: https://www.rfc-editor.org/rfc/rfc7518#section-3.4
    fn sign(
        &self,
        input: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>>;
}

impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn algorithm(&self) -> SigningAlgorithm {
        (**self).algorithm()
    }

    fn sign(
        &self,
        input: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + '_>> {
        (**self).sign(input)
    }
}
