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
    // Later versions of rustls say more about some under a longer name, and earlier ones do not have that.
    let name = format!("{error:?}");
    let is = |known: &str| name.contains(known);
    if is("NotValidForName") {
        "its certificate is for another host name"
    } else if is("NotValidYet") {
        "its certificate is not valid yet, or the clock of this machine is behind"
    } else if is("Expired") && !is("Revocation") {
        "its certificate has expired, or the clock of this machine is ahead"
    } else if is("UnknownIssuer") {
        "its certificate is self-signed or of an unknown CA: it comes from none of the roots that are trusted here; \
         `root_certificates` says which are"
    } else if is("CaUsedAsEndEntity") {
        "its certificate is one of a CA, which no server may show; self-signed certificates often are, by mistake"
    } else {
        "its certificate does not do"
    }
}
