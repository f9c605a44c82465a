//! Reads and writes a file `<kid>.key`, which holds one root key. It is written once and never changed.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{ListedKey, RootKey, Suite},
    secret::Secret,
};

/// The file name of a key.
pub(super) fn name(kid: Kid) -> String {
    format!("{kid}.key")
}

/// Parses the file of a listed key strictly. The error says what is wrong and contains no byte of the key.
pub(super) fn parse(bytes: &[u8], listed: &ListedKey) -> Result<RootKey, String> {
    // serde would also read an array. The check of the first byte refuses it, and a byte order mark.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("is not a key file: a JSON object is expected".into());
    }
    // Only the position is reported, because serde's message could quote the key.
    let file: KeyFile<'_> = serde_json::from_slice(bytes)
        .map_err(|e| format!("is not a key file: error at line {}, column {}", e.line(), e.column()))?;
    if file.version != 1 {
        return Err(format!("has version {}, but this program supports only version 1", file.version));
    }
    let secret = Secret::<32>::from_base64url(file.key)
        .ok_or("does not contain 32 bytes in 43 characters of base64url")?;
    if is_trivial(secret.expose()) {
        return Err("contains a trivial key, which can be guessed".into());
    }
    if file.created.parse::<Timestamp>().is_err() {
        return Err("has a `created` that is not a time".into());
    }
    let root = RootKey::new(file.suite, secret);
    if root.kid() != listed.kid || file.kid != listed.kid.to_string() {
        return Err(format!("does not contain the key {}, but the key {}", listed.kid, root.kid()));
    }
    if root.suite() != listed.suite {
        return Err("has another suite than ring.json states".into());
    }
    Ok(root)
}

/// The bytes of the file.
pub(super) fn to_json(root: &RootKey, created: Timestamp) -> Zeroizing<Vec<u8>> {
    let key = root.bytes().to_base64url();
    let file = KeyFile {
        version: 1,
        kid: &root.kid().to_string(),
        suite: root.suite(),
        created: &created.to_string(),
        key: &key,
    };
    // The vector gets its full capacity at once: growing would leave copies of the key in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    serde_json::to_writer(&mut *bytes, &file).expect("texts and numbers always have a JSON form");
    bytes.push(b'\n');
    bytes
}

/// Whether the bytes look typed and not random: few different bytes, a repeated half, or bytes that count up or down. The
/// probability that a random key looks like this is negligible.
fn is_trivial(key: &[u8; 32]) -> bool {
    let mut seen = [false; 256];
    key.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    let different = seen.iter().filter(|&&seen| seen).count();
    let counted = |step: u8| key.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(step));
    different <= 8 || key[..16] == key[16..] || counted(1) || counted(255)
}

/// Borrows the key from the text, so that no copy is made. A key with JSON escapes is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile<'a> {
    version: u32,
    kid: &'a str,
    suite: Suite,
    created: &'a str,
    key: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::KeyState;

    fn listed(root: &RootKey) -> ListedKey {
        let since = Timestamp::EPOCH;
        ListedKey { kid: root.kid(), state: KeyState::Active, suite: root.suite(), since }
    }

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let root = RootKey::generate(Suite::Xaes256Gcm).unwrap();
        let read = parse(&to_json(&root, Timestamp::EPOCH), &listed(&root)).unwrap();
        assert_eq!((read.kid(), read.bytes()), (root.kid(), root.bytes()));
    }

    #[test]
    fn a_key_file_is_read_strictly_and_no_error_quotes_it() {
        let root = RootKey::generate(Suite::Xaes256Gcm).unwrap();
        let good = String::from_utf8(to_json(&root, Timestamp::EPOCH).to_vec()).unwrap();
        let key = root.bytes().to_base64url();
        let other = RootKey::generate(Suite::Xaes256Gcm).unwrap();
        let kid = root.kid().to_string();
        for bad in [
            String::new(),
            good[..good.len() / 2].into(),
            format!("{good}junk"),
            format!("\u{feff}{good}"),
            format!("<!doctype html>{}", &*key),
            format!("\"{}\"", &*key),
            format!(r#"[1,"{kid}","xaes-256-gcm","1970-01-01T00:00:00Z","{}"]"#, &*key),
            good.replace(r#""version":1"#, r#""version":2"#),
            good.replace(r#""version":1"#, r#""version":1,"key":"x""#),
            good.replace(r#""version":1"#, r#""version":1,"extra":1"#),
            good.replace(&*key, &key[1..]),
            good.replace(&*key, &format!("{}=", &*key)),
            good.replace(&*key, &other.bytes().to_base64url()),
            good.replace(&kid, &other.kid().to_string()),
            good.replace("xaes-256-gcm", "aes-256-gcm"),
            good.replace("xaes-256-gcm", "rot13"),
            good.replace("1970-01-01T", "1970-01-01 "),
        ] {
            let error = parse(bad.as_bytes(), &listed(&root)).expect_err(&bad);
            assert!(!error.contains(&key[1..]), "{error}");
        }
    }

    #[test]
    fn trivial_values_are_refused_as_keys() {
        let count = |start: u8, step: u8| {
            std::array::from_fn(|i| start.wrapping_add(step.wrapping_mul(u8::try_from(i).unwrap())))
        };
        for bad in [[0; 32], [0xff; 32], [7; 32], count(0, 1), count(250, 1), count(31, 255)] {
            assert!(is_trivial(&bad), "{bad:?}");
            let root = RootKey::new(Suite::Xaes256Gcm, Secret::new(bad));
            assert!(parse(&to_json(&root, Timestamp::EPOCH), &listed(&root)).is_err());
        }
        assert!(is_trivial(b"deadbeefdeadbeefdeadbeefdeadbeef"));
        assert!(is_trivial(b"0123456789abcdef0123456789abcdef"));
        for _ in 0..1000 {
            assert!(!is_trivial(Secret::generate().unwrap().expose()));
        }
    }
}
