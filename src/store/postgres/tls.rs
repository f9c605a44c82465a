//! TLS to the server by rustls, with `sslmode` as in libpq.
//!
//! `prefer` and `require` encrypt but do not check the server's name: they protect against passive eavesdroppers, not against a
//! man in the middle. `verify-ca` checks the certificate chain, `verify-full` also the name. `require` with given roots checks
//! the chain.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::environment::at_home;
use crate::store::{BadDatabase, StoreError};

/// The parameter `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

pub(super) fn mode(text: &str) -> Result<Mode, BadDatabase> {
    Ok(match text {
        "disable" => Mode::Disable,
        "allow" | "prefer" => Mode::Prefer,
        "require" => Mode::Require,
        "verify-ca" => Mode::VerifyCa,
        "verify-full" => Mode::VerifyFull,
        _ => {
            return Err(BadDatabase(
                "sslmode must be disable, prefer, require, verify-ca or verify-full".into(),
            ));
        }
    })
}

/// Turns a socket into a TLS connection.
#[derive(Clone)]
pub(super) struct Protection(pub(super) MakeRustlsConnect);

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protection")
    }
}

/// Builds the TLS configuration. `roots` is a file of certificates, or `system`. The default is `~/.postgresql/root.crt`, if it
/// exists.
pub(super) fn protection(mode: Mode, roots: Option<&str>) -> Result<Protection, StoreError> {
    if roots == Some("system") && mode != Mode::VerifyFull {
        return Err(failed("sslrootcert=system requires sslmode=verify-full"));
    }
    let usual = || at_home(".postgresql/root.crt").filter(|path| path.exists());
    let roots = roots.map(str::to_owned).or_else(|| usual().map(|path| path.display().to_string()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let any_name = |chain| Arc::new(AnyName { provider: Arc::clone(&provider), chain });
    let config = match (mode, roots) {
        (Mode::VerifyFull, Some(roots)) => builder.with_root_certificates(load(&roots)?),
        (Mode::VerifyCa | Mode::Require, Some(roots)) => {
            let roots = Arc::new(load(&roots)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            let verifier = any_name(Some(chain.map_err(failed)?));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        (Mode::VerifyCa | Mode::VerifyFull, None) => {
            return Err(failed(
                "sslmode requires root certificates, but none are set; set sslrootcert to a file or to system",
            ));
        }
        (Mode::Disable | Mode::Prefer | Mode::Require, _) => {
            builder.dangerous().with_custom_certificate_verifier(any_name(None))
        }
    };
    Ok(Protection(MakeRustlsConnect::new(config.with_no_client_auth())))
}

fn failed(why: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("TLS to the database: {why}"))
}

fn load(roots: &str) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    if roots == "system" {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let unreadable = |error: &dyn fmt::Display| failed(format!("{roots}: {error}"));
        let certs = CertificateDer::pem_file_iter(roots).map_err(|error| unreadable(&error))?;
        for cert in certs {
            let cert = cert.map_err(|error| unreadable(&error))?;
            store.add(cert).map_err(|error| unreadable(&error))?;
        }
    }
    if store.is_empty() {
        Err(failed(format!("{roots}: the file contains no certificate")))
    } else {
        Ok(store)
    }
}

/// Checks the certificate chain if there are roots, but not the name. The check that the server holds the key of its certificate
/// is always made.
#[derive(Debug)]
struct AnyName {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(cert, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
