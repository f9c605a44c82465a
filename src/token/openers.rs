//! Opens tokens with several exports: tokens of people and of machines, or of several audiences.

use std::sync::Arc;

use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    ids::{Audience, Purpose},
    token::{KeyExport, KeyFile, OpenBuffer, Opened, Refused, TokenKeys},
};

/// One export of [`Openers`]: a [`KeyFile`], which is read again when it changes, or a [`KeyExport`], for example from an
/// environment variable.
#[derive(Debug)]
pub struct Opener(Source);

#[derive(Debug)]
enum Source {
    File(Arc<KeyFile>),
    Export { keys: TokenKeys, export: KeyExport },
}

impl From<KeyFile> for Opener {
    fn from(file: KeyFile) -> Self {
        Arc::new(file).into()
    }
}

/// Takes a shared file, so that the program can still read [`KeyFile::fault`].
impl From<Arc<KeyFile>> for Opener {
    fn from(file: Arc<KeyFile>) -> Self {
        Self(Source::File(file))
    }
}

impl From<KeyExport> for Opener {
    fn from(export: KeyExport) -> Self {
        Self(Source::Export { keys: export.keys(), export })
    }
}

impl Opener {
    fn open_at<'b>(
        &self,
        token: &str,
        now: Timestamp,
        buffer: &'b mut OpenBuffer,
    ) -> Result<Opened<&'b str>, Refused> {
        match &self.0 {
            Source::File(file) => file.open_at(token, now, buffer),
            Source::Export { keys, export } => keys.open_at(token, now, export.max_age(), buffer),
        }
    }

    /// The purpose and audience of its tokens.
    fn names(&self) -> (Purpose, Audience) {
        let (purpose, audience) = match &self.0 {
            Source::File(file) => (file.purpose(), file.audience()),
            Source::Export { export, .. } => (export.purpose(), export.audience()),
        };
        (purpose.clone(), audience.clone())
    }
}

/// Opens a token with one of several exports: the first whose key verifies the token.
///
/// A resource server that people and machines call has two exports, `access` and `service`. A route for people calls
/// [`open_for`](Self::open_for) with the purpose `access`, which refuses a machine's token with [`Refused::Purpose`].
#[derive(Debug)]
pub struct Openers(Vec<Opener>);

/// The content of a token, and the export that opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    /// The content.
    pub opened: Opened<String>,
    /// The purpose of the export: `access` is a person's token, `service` a machine's.
    pub purpose: Purpose,
    /// The audience of the export.
    pub audience: Audience,
}

impl Openers {
    /// An opener with one export.
    pub fn new(first: impl Into<Opener>) -> Self {
        Self(vec![first.into()])
    }

    /// Adds an export. It is tried after those that were added before.
    #[must_use]
    pub fn and(mut self, other: impl Into<Opener>) -> Self {
        self.0.push(other.into());
        self
    }

    /// Opens a token that is younger than its export's `max_age` by the system's clock.
    ///
    /// # Errors
    ///
    /// As [`open_at`](Self::open_at).
    pub fn open(&self, token: &str) -> Result<OpenedBy, Refused> {
        self.open_at(token, SystemClock.now())
    }

    /// Like [`open`](Self::open), for tokens of one purpose.
    ///
    /// # Errors
    ///
    /// As [`open_at`](Self::open_at), and [`Refused::Purpose`] if the token opens but has another purpose.
    pub fn open_for(&self, purpose: &Purpose, token: &str) -> Result<OpenedBy, Refused> {
        self.open_for_at(purpose, token, SystemClock.now())
    }

    /// Opens a token that is younger than its export's `max_age` at the time `now`. Costs at most one decryption for each export.
    ///
    /// # Errors
    ///
    /// [`Refused`] if no export opens the token. If several exports fail, the reason of the export that passed the most checks.
    pub fn open_at(&self, token: &str, now: Timestamp) -> Result<OpenedBy, Refused> {
        let (mut buffer, mut furthest) = (OpenBuffer::new(), Refused::UnknownKey);
        for export in &self.0 {
            match export.open_at(token, now, &mut buffer) {
                Ok(Opened { kid, issued_at, payload }) => {
                    let opened = Opened { kid, issued_at, payload: payload.to_owned() };
                    let (purpose, audience) = export.names();
                    return Ok(OpenedBy { opened, purpose, audience });
                }
                Err(refused) => match (undecided(refused), undecided(furthest)) {
                    // The tag was verified, so no other export can open it.
                    (None, _) => return Err(refused),
                    (Some(came), best) if Some(came) > best => furthest = refused,
                    _ => {}
                },
            }
        }
        Err(furthest)
    }

    /// [`open_for`](Self::open_for) at the time `now`.
    ///
    /// # Errors
    ///
    /// As [`open_for`](Self::open_for).
    pub fn open_for_at(&self, purpose: &Purpose, token: &str, now: Timestamp) -> Result<OpenedBy, Refused> {
        let opened = self.open_at(token, now)?;
        if opened.purpose == *purpose { Ok(opened) } else { Err(Refused::Purpose) }
    }
}

/// The number of checks that an export has passed. `None` for reasons that are found after the tag was verified.
fn undecided(refused: Refused) -> Option<u8> {
    match refused {
        Refused::UnknownKey => Some(0),
        Refused::Suite => Some(1),
        Refused::Length => Some(2),
        Refused::Tag => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        keyring::{KeyState, Ring, RingKey, RootKey, Suite},
        token::{KeyExport, SealCounts, TokenKeys},
    };

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn ring(root: &RootKey) -> Ring {
        let key = RingKey {
            kid: root.kid(),
            state: KeyState::Active,
            suite: root.suite(),
            since: Timestamp::EPOCH,
            root: Some(root.clone()),
        };
        Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys: vec![key] }
    }

    #[test]
    fn a_machines_token_is_refused_where_people_are_admitted_and_the_reason_says_so() {
        let home = tempfile::tempdir().unwrap();
        let root = RootKey::generate(Suite::Xaes256Gcm).unwrap();
        let (people, machines, audience) =
            (Purpose::access(), Purpose::service(), Audience::new("billing").unwrap());
        let export = |purpose: &Purpose| {
            let path = home.path().join(purpose.as_str());
            let export = KeyExport::new(&ring(&root), purpose, &audience, Duration::from_secs(120));
            std::fs::write(&path, export.to_json().expose()).unwrap();
            KeyFile::new(path).unwrap()
        };
        let seal = |root: &RootKey, purpose: &Purpose| {
            let keys = TokenKeys::derive_counted(&ring(root), purpose, &audience, &SealCounts::default());
            keys.seal_at(r#"{"id":"1"}"#, NOW).unwrap().into_string()
        };
        let both = Openers::new(export(&people)).and(export(&machines));
        for purpose in [&people, &machines] {
            let opened = both.open_at(&seal(&root, purpose), NOW).unwrap();
            assert_eq!((&opened.purpose, &opened.audience), (purpose, &audience));
            assert_eq!(opened.opened.payload, r#"{"id":"1"}"#);
        }
        let machine = seal(&root, &machines);
        assert_eq!(both.open_for_at(&people, &machine, NOW), Err(Refused::Purpose));
        assert!(both.open_for_at(&machines, &machine, NOW).is_ok());
        assert!(both.open_for_at(&people, &seal(&root, &people), NOW).is_ok());
        // The reason that is reported if no export opens the token.
        let other = RootKey::generate(Suite::Xaes256Gcm).unwrap();
        let late = NOW.plus(Duration::from_secs(120));
        assert_eq!(both.open_at(&machine, late), Err(Refused::Expired));
        assert_eq!(both.open_at("", NOW), Err(Refused::Length));
        assert_eq!(both.open_at(&seal(&other, &people), NOW), Err(Refused::UnknownKey));
        assert_eq!(both.open_at(&seal(&root, &Purpose::new("invite").unwrap()), NOW), Err(Refused::Tag));
        let alone = Openers::new(export(&people));
        assert_eq!(
            alone.open_at(&machine, NOW),
            Err(Refused::Tag),
            "one export can't tell it from a forged one"
        );
    }

    #[test]
    fn a_file_among_the_exports_is_followed_and_each_export_has_its_own_max_age() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("machines.keys.json");
        let [first, second] = [(); 2].map(|()| RootKey::generate(Suite::Xaes256Gcm).unwrap());
        let export = |root: &RootKey, purpose: &Purpose, max_age| {
            let audience = Audience::new("billing").unwrap();
            KeyExport::new(&ring(root), purpose, &audience, Duration::from_secs(max_age))
        };
        let put = |export: &KeyExport| {
            let next = path.with_extension("next");
            std::fs::write(&next, export.to_json().expose()).unwrap();
            std::fs::rename(next, &path).unwrap();
        };
        let (people, machines) = (Purpose::access(), Purpose::service());
        put(&export(&first, &machines, 600));
        let file = Arc::new(KeyFile::new(&path).unwrap());
        let variable = export(&first, &people, 120).to_env();
        let (_, value) = variable.expose().split_once('=').unwrap();
        let both = Openers::new(KeyExport::from_env(value).unwrap()).and(Arc::clone(&file));
        let seal = |root: &RootKey, purpose: &Purpose| {
            export(root, purpose, 1).keys().seal_at("{}", NOW).unwrap().into_string()
        };
        let [person, machine] = [&people, &machines].map(|purpose| seal(&first, purpose));
        let late = NOW.plus(Duration::from_secs(300));
        assert_eq!(both.open_at(&person, NOW).unwrap().purpose, people);
        assert_eq!(both.open_at(&person, late), Err(Refused::Expired));
        assert_eq!(both.open_at(&machine, late).unwrap().purpose, machines);
        let newer = seal(&second, &machines);
        assert_eq!(both.open_at(&newer, NOW), Err(Refused::UnknownKey));
        put(&export(&second, &machines, 600));
        assert_eq!(both.open_at(&newer, NOW).unwrap().purpose, machines);
        assert_eq!(file.fault(), None);
    }
}
