//! Tests every case of `tests/vectors/` through the public API. The README there describes the format.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::LazyLock,
    time::Duration,
};

use aes_gcm::aead::{AeadInOut, KeyInit};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulla::internals::{
    clock::Timestamp,
    keyring::{RootKey, Suite},
    secret::Secret,
    token::{KeyExport, OpenBuffer, TokenKeys},
};
use serde::Deserialize;

/// One file of the vectors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    comment: String,
    export: serde_json::Value,
    now: i64,
    pub(crate) token: String,
    payload: Option<String>,
    refused: Option<String>,
    made_from: Option<MadeFrom>,
}

/// The inputs from which a token was made, besides those in its case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MadeFrom {
    root_key: String,
    nonce: String,
    issued_at: i64,
}

/// All vectors, read once.
pub(crate) static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(|| {
    let files = folder().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let cases = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let case: Vector = serde_json::from_slice(&fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            Some(case.name.as_str()),
            path.file_stem().unwrap().to_str(),
            "a case is named as its file"
        );
        case
    };
    cases.map(read).collect()
});

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

impl Vector {
    pub(crate) fn export(&self) -> KeyExport {
        KeyExport::from_json(&self.export.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Opens the token with keys of `export`; returns its payload, or the reason why it is refused.
    pub(crate) fn open<'b>(
        &self,
        keys: &TokenKeys,
        max_age: Duration,
        buffer: &'b mut OpenBuffer,
    ) -> Result<&'b str, &'static str> {
        match keys.open_at(&self.token, Timestamp::from_millis(self.now), max_age, buffer) {
            Ok(opened) => Ok(opened.payload),
            Err(refused) => Err(refused.reason()),
        }
    }

    fn expected(&self) -> Result<&str, &str> {
        match (&self.payload, &self.refused) {
            (Some(payload), None) => Ok(payload),
            (None, Some(reason)) => Err(reason),
            _ => panic!("{}: one of `payload` and `refused`", self.name),
        }
    }
}

#[test]
fn every_vector_opens_or_is_refused_for_the_stated_reason() {
    let mut wrong = Vec::new();
    for vector in VECTORS.iter() {
        let (export, mut buffer) = (vector.export(), OpenBuffer::new());
        let outcome = vector.open(&export.keys(), export.max_age(), &mut buffer);
        if outcome != vector.expected() {
            wrong.push(format!("{}: {outcome:?}, not {:?}", vector.name, vector.expected()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_vectors_are_many_all_different_and_mostly_refusals() {
    let refusals = VECTORS.iter().filter(|vector| vector.expected().is_err()).count();
    assert!(VECTORS.len() >= 320, "{}", VECTORS.len());
    assert!(refusals * 2 > VECTORS.len(), "{refusals} of {}", VECTORS.len());
    let same = |vector: &Vector| (vector.token.clone(), vector.now, vector.export.to_string());
    assert_eq!(VECTORS.iter().map(same).collect::<BTreeSet<_>>().len(), VECTORS.len(), "a case stands twice");
    for vector in VECTORS.iter() {
        assert!(vector.comment.ends_with('.') && !vector.comment.contains('\n'), "{}", vector.name);
    }
    for suite in ["golden-", "x-", "a-", "c-"] {
        assert!(VECTORS.iter().any(|vector| vector.name.starts_with(suite)), "{suite}");
    }
}

#[test]
fn every_reason_has_vectors_and_a_line_in_the_readme() {
    let mut reasons = BTreeMap::<_, usize>::new();
    for reason in VECTORS.iter().filter_map(|vector| vector.expected().err()) {
        *reasons.entry(reason).or_default() += 1;
    }
    let all = "encoding expired future length magic not_before payload suite tag unknown_key";
    assert_eq!(reasons.keys().copied().collect::<Vec<_>>().join(" "), all);
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for reason in reasons.keys() {
        assert!(readme.contains(&format!("| `{reason}` |")), "{reason}");
    }
}

#[test]
fn every_file_among_the_vectors_is_read_by_this_test() {
    for entry in folder().read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = VECTORS.iter().any(|vector| name == format!("{}.json", vector.name));
        assert!(known || ["README.md", "make.py", "generator"].contains(&name.as_str()), "{name}");
    }
}

/// Seals again from the root key. The test itself composes the key id, the derived key, the layout and the encryption from the
/// underlying crates.
#[test]
fn a_vector_with_a_root_key_is_sealed_to_the_same_bytes() {
    let mut golden = 0;
    for vector in VECTORS.iter() {
        let Some(made_from) = &vector.made_from else { continue };
        golden += usize::from(vector.name.starts_with("golden-"));
        let line = &vector.export["keys"][0];
        let suite: Suite = serde_json::from_value(line["suite"].clone()).unwrap();
        let root = RootKey::new(suite, Secret::from_base64url(&made_from.root_key).unwrap());
        assert_eq!(line["kid"], root.kid().to_string(), "{}", vector.name);
        let export = vector.export();
        let key = root.derive(export.purpose(), export.audience());
        assert_eq!(line["key"], key.to_base64url().as_str(), "{}", vector.name);

        let nonce = URL_SAFE_NO_PAD.decode(&made_from.nonce).unwrap();
        let mut header = URL_SAFE_NO_PAD.decode(format!("bul{}", char::from(suite.letter()))).unwrap();
        header.extend(root.kid().0);
        let clear = [&made_from.issued_at.to_be_bytes()[2..], vector.expected().unwrap().as_bytes()].concat();
        let sealed = seal(suite, &key, &nonce, &header, clear);
        assert_eq!(vector.token, URL_SAFE_NO_PAD.encode([header, nonce, sealed].concat()), "{}", vector.name);
    }
    assert_eq!(golden, 6);
}

/// Returns the ciphertext and the tag.
fn seal(suite: Suite, key: &Secret<32>, nonce: &[u8], header: &[u8], mut text: Vec<u8>) -> Vec<u8> {
    fn run<C: KeyInit + AeadInOut>(key: &[u8], nonce: &[u8], header: &[u8], text: &mut [u8]) -> Vec<u8> {
        let cipher = C::new_from_slice(key).unwrap();
        cipher.encrypt_inout_detached(nonce.try_into().unwrap(), header, text.into()).unwrap().to_vec()
    }
    let run = match suite {
        Suite::Xaes256Gcm => run::<xaes_256_gcm::Xaes256Gcm>,
        Suite::Aes256Gcm => run::<aes_gcm::Aes256Gcm>,
        Suite::XChaCha20Poly1305 => run::<chacha20poly1305::XChaCha20Poly1305>,
        other => panic!("no reference implementation of {other:?}"),
    };
    let tag = run(key.expose(), nonce, header, &mut text);
    [text, tag].concat()
}
