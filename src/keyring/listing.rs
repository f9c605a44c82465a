//! `ring.json`: lists the keys and their states. It holds no secrets.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::Kid,
    keyring::{KeyState, Suite},
};

/// The largest number that every JSON parser keeps exact (RFC 7493, 2.2); a database's `bigint` holds it.
const MAX_GENERATION: u64 = (1 << 53) - 1;

/// The end of each message about a file that can't be read: how to mend it.
const RESTORE: &str = "restore the file from the newest copy; if there is no copy, `bulla keys revoke --all` creates \
    new keys, and all users must log in again";

/// The checked content of `ring.json`: exactly one key is active, at most one is staged, no key id is listed twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Grows with each replacement of the file.
    pub generation: u64,
    /// Tokens sealed before this time are refused.
    pub not_before: Timestamp,
    /// The keys in the order of the file.
    pub keys: Vec<ListedKey>,
}

/// One listed key; its bytes are in its key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key id.
    pub kid: Kid,
    /// The state of the key.
    pub state: KeyState,
    /// The suite of the key.
    pub suite: Suite,
    /// When the key entered this state. The file has whole seconds.
    pub since: Timestamp,
}

impl Listing {
    /// The key in a state that at most one key can have.
    pub fn in_state(&self, state: KeyState) -> Option<&ListedKey> {
        self.keys.iter().find(|key| key.state == state)
    }

    /// Parses the file strictly: unknown or repeated members and text after the end are refused. The error tells an operator what
    /// is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file: RingFile =
            serde_json::from_slice(bytes).map_err(|e| format!("is not a key ring: {e}; {RESTORE}"))?;
        // Only objects are accepted: serde would also read a struct from an array.
        let plain: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| format!("is not a key ring: {e}; {RESTORE}"))?;
        if serde_json::to_value(&file).ok() != Some(plain) {
            return Err(format!("is not a key ring: objects and plain numbers are expected; {RESTORE}"));
        }
        if file.version != 1 {
            return Err(format!(
                "has version {}, but this program supports only version 1; run a newer version of bulla",
                file.version
            ));
        }
        if !(1..=MAX_GENERATION).contains(&file.generation) || file.not_before < Timestamp::EPOCH {
            return Err(format!("has a generation or not_before out of range; {RESTORE}"));
        }
        let keys = file.keys.iter().map(ListedKey::from_file).collect::<Result<_, _>>()?;
        let listing = Self { generation: file.generation, not_before: file.not_before, keys };
        listing.check()?;
        Ok(listing)
    }

    /// The bytes of the file.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let keys = self
            .keys
            .iter()
            .map(|key| KeyLine {
                kid: key.kid.to_string(),
                state: key.state,
                suite: key.suite,
                since: key.since.to_string(),
            })
            .collect();
        let file = RingFile { version: 1, generation: self.generation, not_before: self.not_before, keys };
        let mut bytes = serde_json::to_vec_pretty(&file).expect("texts and numbers always have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// The generation in a damaged file, if it can still be read.
    pub(super) fn generation_of(damaged: &[u8]) -> Option<u64> {
        let text = String::from_utf8_lossy(damaged);
        let (_, rest) = text.split_once("\"generation\"")?;
        let digits = rest.trim_start().strip_prefix(':')?.trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok().filter(|generation| *generation <= MAX_GENERATION)
    }

    fn check(&self) -> Result<(), String> {
        let count = |state| self.keys.iter().filter(|key| key.state == state).count();
        let active = count(KeyState::Active);
        if active != 1 {
            return Err(format!("lists {active} active keys, but exactly one is required; {RESTORE}"));
        }
        if count(KeyState::Staged) > 1 {
            return Err(format!("lists more than one staged key; {RESTORE}"));
        }
        let mut kids: Vec<Kid> = self.keys.iter().map(|key| key.kid).collect();
        kids.sort_unstable();
        match kids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("lists key {} twice; {RESTORE}", pair[0])),
            None => Ok(()),
        }
    }
}

impl ListedKey {
    fn from_file(line: &KeyLine) -> Result<Self, String> {
        Ok(Self {
            kid: line.kid.parse().map_err(|e| format!("lists a key that is {e}; {RESTORE}"))?,
            state: line.state,
            suite: line.suite,
            since: line
                .since
                .parse()
                .map_err(|e| format!("lists key {} with a `since` that is {e}; {RESTORE}", line.kid))?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    version: u32,
    generation: u64,
    not_before: Timestamp,
    keys: Vec<KeyLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    kid: String,
    state: KeyState,
    suite: Suite,
    since: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"version":1,"generation":17,"not_before":0,"keys":[
        {"kid":"9f3c21ab","state":"active","suite":"xaes-256-gcm","since":"2026-11-20T19:00:00Z"},
        {"kid":"00000001","state":"staged","suite":"aes-256-gcm","since":"2026-11-20T19:00:00Z"}]}"#;

    #[test]
    fn a_listing_reads_back_as_it_was_written() {
        let listing = Listing::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(listing.generation, 17);
        assert_eq!(Listing::parse(&listing.to_json()), Ok(listing));
    }

    #[test]
    fn a_listing_is_read_strictly() {
        let replaced = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            GOOD.replacen(from, to, 1)
        };
        for bad in [
            String::new(),
            GOOD[..GOOD.len() - 1].into(),
            format!("{GOOD}x"),
            format!("{GOOD}{GOOD}"),
            format!("\u{feff}{GOOD}"),
            "<html></html>".into(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            r#"[1,17,0,[["9f3c21ab","active","xaes-256-gcm","2026-11-20T19:00:00Z"]]]"#.into(),
            r#"{"version":1,"generation":17,"not_before":0,"keys":[["9f3c21ab","active","xaes-256-gcm","2026-11-20T19:00:00Z"]]}"#.into(),
            replaced(r#""version":1"#, r#""version":2"#),
            replaced(r#""version":1"#, r#""version":1,"version":1"#),
            replaced(r#""version":1"#, r#""version":1,"extra":1"#),
            replaced(r#""generation":17"#, r#""generation":0"#),
            replaced(r#""generation":17"#, r#""generation":-1"#),
            replaced(r#""generation":17"#, r#""generation":17.0"#),
            replaced(r#""generation":17"#, r#""generation":"17""#),
            replaced(r#""generation":17"#, r#""generation":9007199254740992"#),
            replaced(r#""generation":17,"#, ""),
            replaced(r#""not_before":0"#, r#""not_before":-1"#),
            replaced("9f3c21ab", "9F3C21AB"),
            replaced("9f3c21ab", "../../ab"),
            replaced("9f3c21ab", "00000001"),
            replaced(r#""kid":"9f3c21ab""#, r#""kid":"9f3c21ab","kid":"9f3c21ab""#),
            replaced(r#""state":"active""#, r#""state":"Active""#),
            replaced(r#""state":"active""#, r#""state":"retired""#),
            replaced(r#""state":"staged""#, r#""state":"active""#),
            replaced(r#""state":"staged""#, r#""state":"staged","x":0"#),
            replaced("xaes-256-gcm", "none"),
            replaced("2026-11-20T19:00:00Z", "2026-11-20 19:00:00Z"),
            replaced("2026-11-20T19:00:00Z", "2026-02-30T19:00:00Z"),
            replaced("2026-11-20T19:00:00Z", ""),
        ] {
            assert!(Listing::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
