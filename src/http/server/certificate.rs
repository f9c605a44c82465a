//! Reads the certificate and the key of the server from PEM files.

use std::{io, path::Path};

use rustix::fs::Access;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::ids::shell;

/// Reads a certificate chain and its key. The error names the file, what is wrong with it and how to fix it.
pub(crate) fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, String> {
    let wrong = |error: rustls::pki_types::pem::Error| format!("{}: {error}", cert.display());
    let chain = CertificateDer::pem_slice_iter(&read(cert)?)
        .map(|cert| cert.map(CertificateDer::into_owned))
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    if chain.is_empty() {
        return Err(format!(
            "{}: the file contains no certificate; set tls_cert to a PEM file with the certificate chain",
            cert.display()
        ));
    }
    let bytes = read(key)?;
    if is_encrypted(&bytes) {
        return Err(format!(
            "{}: the private key is encrypted; `openssl pkey -in {} -out {}` writes it without a passphrase, \
             readable only by its owner; set tls_key to that file",
            key.display(),
            shell::quote_path(key),
            shell::quote_path(&key.with_extension("plain.pem"))
        ));
    }
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        format!(
            "{}: the file contains no private key; set tls_key to a PEM file with the private key",
            key.display()
        )
    })?;
    let provider = rustls::crypto::ring::default_provider();
    let key_of = provider.key_provider.load_private_key(der);
    let key_of =
        key_of.map_err(|_| format!("{}: the type of the private key is not supported", key.display()))?;
    let certified = CertifiedKey::new(chain, key_of);
    certified.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "{} is not the private key of {}; set tls_cert and tls_key to files that belong together",
            key.display(),
            cert.display()
        ),
        error => format!("{}: {error}", cert.display()),
    })?;
    Ok(certified)
}

/// The error if all users of this machine can read the key. Read access for its group is allowed, as for Debian's `ssl-cert`.
pub(crate) fn open(key: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let open = key.metadata().is_ok_and(|about| about.permissions().mode() & 0o007 != 0);
    open.then(|| {
        format!(
            "{}: all users may read the private key; `chmod o= {}` prevents that",
            key.display(),
            shell::quote_path(key)
        )
    })
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    std::fs::read(path).map(zeroize::Zeroizing::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{}: the file is missing; correct tls_cert or tls_key", path.display())
        }
        _ => shell::explain(path, &error, Access::READ_OK),
    })
}

/// Whether a key is encrypted: by the label of PKCS #8, or by the header of the older format.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}
