//! The certificate that the server presents, and its replacement while the server runs.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate;

/// The certificate and the key in force. Connections that are already open keep the certificate of their handshake.
#[derive(Debug)]
pub struct ServedCertificate {
    in_force: ArcSwap<CertifiedKey>,
    files: Mutex<Files>,
}

/// The two files, and the states in which they were seen.
#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// The state at the last attempt to load the files.
    tried: State,
    /// The state at the last look.
    seen: State,
}

/// The states of the two files. A file that can't be examined has none.
type State = [Option<FileState>; 2];

/// The attributes of a file, one of which differs after every change: device, inode, size, and the times of the last change of
/// content and of attributes.
type FileState = (u64, u64, u64, (i64, i64), (i64, i64));

impl Files {
    fn state(&self) -> State {
        let state = |about: Metadata| {
            let modified = (about.mtime(), about.mtime_nsec());
            (about.dev(), about.ino(), about.size(), modified, (about.ctime(), about.ctime_nsec()))
        };
        [&self.cert, &self.key].map(|path| path.metadata().ok().map(state))
    }
}

impl ServedCertificate {
    /// Loads the two PEM files.
    ///
    /// # Errors
    ///
    /// A text for the operator, if a file can't be read or the two files can't be used together.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let mut files = Files {
            cert: cert.to_owned(),
            key: key.to_owned(),
            tried: State::default(),
            seen: State::default(),
        };
        // The state is read first: a change during the loading is then found at the next look.
        files.tried = files.state();
        files.seen = files.tried;
        let loaded = certificate::load(cert, key)?;
        Ok(Self { in_force: ArcSwap::from_pointee(loaded), files: Mutex::new(files) })
    }

    /// Makes the TLS configuration that presents this certificate: TLS 1.2 and 1.3 with the cryptography of ring.
    ///
    /// # Errors
    ///
    /// The provider of the cryptography supports none of the two versions.
    pub fn config(self: &Arc<Self>) -> Result<rustls::ServerConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be configured: {error}"))?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Self>::clone(self);
        Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Loads the files again if they have changed. Returns `None` if nothing is to be loaded. Blocks while it reads.
    ///
    /// Changed files are loaded at the second look that finds them in the same state, because a renewal replaces one file after the
    /// other. Files that can't be used are tried only once.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]. The certificate in force stays.
    pub fn look(&self) -> Option<Result<(), String>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let state = files.state();
        let is_settled = state == std::mem::replace(&mut files.seen, state);
        (is_settled && state != files.tried).then(|| self.load_again(&mut files))
    }

    /// Loads the certificate again, from other files if some are given. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// As [`Self::load`]. The certificate in force and the files stay.
    pub fn reload(&self, files_now: Option<(&Path, &Path)>) -> Result<(), String> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files_now {
            Some((cert, key)) if (&*files.cert, &*files.key) != (cert, key) => {
                let new = Self::load(cert, key)?;
                self.in_force.store(new.in_force.load_full());
                *files = new.files.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok(())
            }
            _ => self.load_again(&mut files),
        }
    }

    fn load_again(&self, files: &mut Files) -> Result<(), String> {
        files.tried = files.state();
        files.seen = files.tried;
        self.in_force.store(Arc::new(certificate::load(&files.cert, &files.key)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force.load_full())
    }
}
