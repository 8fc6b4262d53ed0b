//! Why there is no connection by TLS, in words for a person.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};

/// What is wrong, if `error` came of TLS.
pub(crate) fn problem(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut level = Some(error);
    while let Some(current) = level {
        if let Some(error) = of_tls(current) {
            return told(error);
        }
        level = current.source();
    }
    None
}

/// An I/O error gives its own cause's cause as its source, and not its own cause.
fn of_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    match error.downcast_ref::<io::Error>() {
        Some(error) => of_tls(error.get_ref()?),
        None => error.downcast_ref(),
    }
}

fn told(error: &TlsError) -> Option<&'static str> {
    Some(match error {
        TlsError::InvalidCertificate(error) => told_of_certificate(error),
        TlsError::InvalidMessage(_) => {
            "what answers there does not speak TLS; is it plain http, or the port of something else?"
        }
        TlsError::AlertReceived(AlertDescription::ProtocolVersion)
        | TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "it speaks neither TLS 1.2 nor TLS 1.3, and older versions are not safe"
        }
        _ => return None,
    })
}

fn told_of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or the clock of this machine is behind"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or the clock of this machine is ahead"
        }
        CertificateError::UnknownIssuer => {
            "its certificate is self-signed or of an unknown CA: it comes from none of the roots that are trusted here; \
             `root_certificates` says which are"
        }
        // rustls has no variant for it and passes on the error of its verifier, a crate that is not a dependency of this one.
        CertificateError::Other(error) if format!("{error:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is one of a CA, which no server may show; self-signed certificates often are, by mistake"
        }
        _ => "its certificate is not accepted",
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, sync::Arc};

    use rustls::OtherError;

    use super::*;

    /// An error of the verifier, by the name that its `Debug` shows.
    #[derive(Debug)]
    struct Named(&'static str);

    impl fmt::Display for Named {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Named {}

    #[test]
    fn an_error_of_the_verifier_is_told_as_one_of_a_ca_only_when_it_is() {
        for (error, part) in [
            (other(Named("CaUsedAsEndEntity")), "one of a CA"),
            (other(Named("SomethingElse")), "is not accepted"),
            (CertificateError::BadEncoding, "is not accepted"),
            // About a list, not about the certificate.
            (CertificateError::ExpiredRevocationList, "is not accepted"),
        ] {
            let told = told_of_certificate(&error);
            assert!(told.contains(part), "{error:?}: {told}");
        }

        fn other(error: impl StdError + Send + Sync + 'static) -> CertificateError {
            CertificateError::Other(OtherError(Arc::new(error)))
        }
    }
}
