//! Checks the server's certificate and key.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use x509_cert::der::Decode as _;

use super::Check;
use crate::{clock::Timestamp, config::Tls, http::certificate};

/// How long before its end a certificate is reported. Let's Encrypt certificates are renewed 30 days before their end.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Checks the files. `public_url` gives the name that the certificate must contain.
pub(super) fn examine(files: &Tls, public_url: Option<&str>, now: Timestamp) -> Check {
    let mut faults = Vec::new();
    let mut until = String::new();
    match certificate::load(&files.cert, &files.key) {
        Err(fault) => faults.push(fault),
        Ok(certified) => {
            if let Some(leaf) = certified.cert.first() {
                match dates(leaf, now) {
                    Ok(end) => until = end,
                    Err(fault) => faults.push(format!("{}: {fault}", files.cert.display())),
                }
                faults
                    .extend(name(leaf, public_url).map(|fault| format!("{}: {fault}", files.cert.display())));
            }
        }
    }
    faults.extend(certificate::open(&files.key));
    match faults.is_empty() {
        true => Check::new("TLS", Ok::<_, String>(format!("the certificate is valid until {until}"))),
        false => Check::new("TLS", Err::<String, _>(faults.join("; "))),
    }
}

/// Returns the end of a certificate's validity. Fails if the certificate is not valid now, or ends soon.
fn dates(leaf: &CertificateDer<'_>, now: Timestamp) -> Result<String, String> {
    let parsed = x509_cert::Certificate::from_der(leaf)
        .map_err(|error| format!("the certificate can't be parsed: {error}"))?;
    let validity = parsed.tbs_certificate.validity;
    let at = |time: x509_cert::time::Time| {
        Timestamp::from_millis(i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX))
    };
    let (begin, end) = (at(validity.not_before), at(validity.not_after));
    if begin > now {
        return Err(format!("the certificate is not valid before {begin}; check this machine's clock"));
    }
    if end <= now {
        return Err(format!(
            "the certificate expired at {end}; renew it; a running server loads the new files within seconds"
        ));
    }
    if end <= now.plus(SOON) {
        return Err(format!(
            "the certificate expires at {end}; renew it; a running server loads the new files within seconds"
        ));
    }
    Ok(end.to_string())
}

/// Checks that the certificate contains the host name that browsers use.
fn name(leaf: &CertificateDer<'_>, public_url: Option<&str>) -> Option<String> {
    let host = public_url.and_then(|url| url.split_once("://")).map_or("localhost", |(_, rest)| rest);
    let host = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let server = ServerName::try_from(host.to_owned()).ok()?;
    let leaf = webpki::EndEntityCert::try_from(leaf).ok()?;
    leaf.verify_is_valid_for_subject_name(&server).is_err().then(|| {
        format!(
            "the certificate is not valid for {host}, the host in public_url; use a certificate for \
            this host, or correct public_url"
        )
    })
}
