//! Tests hostile input for a token's text, payload, purpose and audience, beyond the fixed cases of `vectors`.

mod properties;

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulla::internals::{
    clock::Timestamp,
    ids::{Audience, Purpose},
    keyring::{KeyState, Suite},
    token::{OpenBuffer, Refused, SealCounts, SealError, TokenKeys, inspect},
};

use super::vectors::VECTORS;
use crate::support::installation;

const SUITES: [Suite; 3] = [Suite::Xaes256Gcm, Suite::Aes256Gcm, Suite::XChaCha20Poly1305];
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const AGE: Duration = Duration::from_secs(120);
const PAYLOAD: &str = r#"{"id":"42","sid":"0t4mBqJkT0WQfqk7mFZQ1g","roles":["admin"]}"#;

/// New keys of purpose `access`, and a token sealed with them.
fn keys_and_token(suite: Suite) -> (TokenKeys, String) {
    let ring = installation::ring_of(suite, &[KeyState::Active, KeyState::Staged]);
    let keys = TokenKeys::derive_counted(&ring, &Purpose::access(), &Audience::own(), &SealCounts::default());
    let token = keys.seal_at(PAYLOAD, NOW).unwrap().into_string();
    (keys, token)
}

fn open(keys: &TokenKeys, token: &str, buffer: &mut OpenBuffer) -> Result<String, Refused> {
    keys.open_at(token, NOW, AGE, buffer).map(|opened| opened.payload.to_owned())
}

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

#[test]
fn opening_a_token_allocates_no_memory() {
    for vector in VECTORS.iter() {
        let (export, mut buffer) = (vector.export(), OpenBuffer::new());
        let keys = export.keys();
        let count = allocations(|| {
            let _ = vector.open(&keys, export.max_age(), &mut buffer);
        });
        // If the open objects of a payload have more than 24 keys at once, the others are stored in a list, which allocates.
        let listed = vector.name.ends_with("-keys-many") || vector.name.contains("-twice-many-");
        assert!(count == 0 || listed, "{}: {count} allocations", vector.name);
    }
}

#[test]
fn a_token_of_one_mebibyte_is_refused_before_it_is_decoded() {
    for suite in SUITES {
        let (keys, token) = keys_and_token(suite);
        let mut buffer = OpenBuffer::new();
        for long in [
            token.repeat((1 << 20) / token.len()),
            format!("{token}{}", "A".repeat(1 << 20)),
            format!("{}{token}", "=".repeat(1 << 20)),
            format!("{}{token}", "é".repeat(1 << 19)),
        ] {
            let count = allocations(|| {
                assert_eq!(keys.open_at(&long, NOW, AGE, &mut buffer), Err(Refused::Length));
                assert_eq!(inspect(&long), Err(Refused::Length));
            });
            assert_eq!(count, 0);
        }
    }
}

#[test]
fn a_token_with_one_flipped_bit_is_refused() {
    for suite in SUITES {
        let (keys, token) = keys_and_token(suite);
        let mut buffer = OpenBuffer::new();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let flipped = URL_SAFE_NO_PAD.encode(flipped);
            assert!(open(&keys, &flipped, &mut buffer).is_err(), "{suite:?}: bit {at} of the bytes");
        }
        for at in 0..token.len() * 7 {
            let mut flipped = token.clone().into_bytes();
            flipped[at / 7] ^= 1 << (at % 7);
            let flipped = String::from_utf8(flipped).unwrap();
            assert!(open(&keys, &flipped, &mut buffer).is_err(), "{suite:?}: bit {at} of the text");
        }
        assert_eq!(open(&keys, &token, &mut buffer).as_deref(), Ok(PAYLOAD), "{suite:?}");
    }
}

#[test]
fn a_shortened_or_extended_token_is_refused() {
    for suite in SUITES {
        let (keys, token) = keys_and_token(suite);
        let mut buffer = OpenBuffer::new();
        let mut refused = |text: &str| assert!(open(&keys, text, &mut buffer).is_err(), "{suite:?}: {text}");
        for at in 0..token.len() {
            let (begin, end) = token.split_at(at);
            refused(begin);
            refused(&end[1..]);
            refused(&format!("{begin}{}", &end[1..]));
            for more in ["A", "AAAA", "-", "=", " ", "\n", "\0", "é", end] {
                refused(&format!("{begin}{more}{end}"));
            }
        }
        refused(&format!("{token}A"));
        refused(&format!("{token}{token}"));
        assert_eq!(open(&keys, &token, &mut buffer).as_deref(), Ok(PAYLOAD), "{suite:?}");
    }
}

#[test]
fn a_token_opens_only_for_its_purpose_and_audience() {
    let purposes =
        ["access", "refresh", "service", "login", "my-own-2"].map(|name| Purpose::new(name).unwrap());
    let audiences = ["", "billing", "shop.example", "access"].map(|name| Audience::new(name).unwrap());
    for suite in SUITES {
        let ring = installation::ring_of(suite, &[KeyState::Active]);
        let counts = SealCounts::default();
        let bindings: Vec<_> = purposes.iter().flat_map(|p| audiences.iter().map(move |a| (p, a))).collect();
        let keys =
            bindings.iter().map(|(p, a)| TokenKeys::derive_counted(&ring, p, a, &counts)).collect::<Vec<_>>();
        let mut buffer = OpenBuffer::new();
        for (mine, sealer) in bindings.iter().zip(&keys) {
            let token = sealer.seal_at(PAYLOAD, NOW).unwrap();
            for (theirs, opener) in bindings.iter().zip(&keys) {
                let outcome = open(opener, token.as_str(), &mut buffer);
                let expected = if mine == theirs { Ok(PAYLOAD.to_owned()) } else { Err(Refused::Tag) };
                assert_eq!(outcome, expected, "{suite:?}: {mine:?} for {theirs:?}");
            }
        }
        let elsewhere = keys_and_token(suite).0;
        let token = keys[0].seal_at(PAYLOAD, NOW).unwrap();
        assert_eq!(open(&elsewhere, token.as_str(), &mut buffer), Err(Refused::UnknownKey));
    }
}

#[test]
fn the_deepest_possible_nesting_does_not_overflow_the_stack() {
    let shallow = std::thread::Builder::new().stack_size(128 << 10).spawn(|| {
        let abyss = VECTORS.iter().filter(|vector| vector.name.contains("-depth-abyss"));
        let opened = abyss.map(|vector| {
            let (export, mut buffer) = (vector.export(), OpenBuffer::new());
            assert_eq!(vector.open(&export.keys(), export.max_age(), &mut buffer), Err("payload"));
        });
        assert_eq!(opened.count(), 3);
        let (keys, _) = keys_and_token(Suite::Xaes256Gcm);
        let depth = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(keys.seal_at(&depth(1500), NOW), Err(SealError::Payload));
        assert_eq!(keys.seal_at(&depth(10_000), NOW), Err(SealError::TooLong));
    });
    shallow.unwrap().join().unwrap();
}

#[test]
fn all_refusals_have_one_message_that_contains_nothing_of_the_token() {
    let mut said = BTreeSet::new();
    for vector in VECTORS.iter().filter(|vector| vector.token.len() >= 58) {
        let (export, mut buffer) = (vector.export(), OpenBuffer::new());
        let outcome = export.keys().open_at(&vector.token, NOW, AGE, &mut buffer).map(|_| ());
        if let Err(refused) = outcome {
            said.insert(refused.to_string());
            let shown = format!("{refused:?} {buffer:?} {export:?} {:?}", export.keys());
            let shows = |part: &str| shown.contains(part);
            assert!(!vector.token.as_bytes().windows(12).any(|part| str::from_utf8(part).is_ok_and(shows)));
        }
    }
    assert_eq!(Vec::from_iter(said), ["token refused"]);
}
