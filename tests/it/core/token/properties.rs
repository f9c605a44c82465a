//! Tests properties that hold for every object, every damaged token and every invalid input.

use std::fmt;

use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::*;

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

/// Objects of any shape, at most 8 levels deep.
fn objects() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(7, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(texts(), inner, 0..4).prop_map(Value::from_iter),
        ]
    });
    proptest::collection::btree_map(texts(), value, 0..5).prop_map(Map::from_iter)
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || matches!(u32::from(c) % 0x1_0000, 0xfffe | 0xffff)
}

/// JSON as `serde_json` reads it, with every member of an object, including duplicates.
#[derive(Deserialize)]
#[serde(untagged)]
enum Node {
    Object(Members),
    Array(Vec<Node>),
    Text(String),
    Other(IgnoredAny),
}

struct Members(Vec<(String, Node)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                std::iter::from_fn(|| map.next_entry().transpose()).collect::<Result<_, _>>().map(Members)
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Node {
    /// The depth of the nesting; `None` if the value violates a rule of RFC 7493.
    fn depth(&self) -> Option<usize> {
        let text = |text: &String| !text.chars().any(is_noncharacter);
        let deepest = |mut parts: &mut dyn Iterator<Item = &Node>| {
            (&mut parts).try_fold(0, |depth, part| Some(depth.max(part.depth()?))).map(|depth| depth + 1)
        };
        match self {
            Self::Object(Members(members)) => {
                let keys: BTreeSet<_> = members.iter().map(|(key, _)| key).collect();
                let strict = keys.len() == members.len() && keys.into_iter().all(text);
                strict.then(|| deepest(&mut members.iter().map(|(_, value)| value)))?
            }
            Self::Array(items) => deepest(&mut items.iter()),
            Self::Text(value) => text(value).then_some(0),
            Self::Other(IgnoredAny) => Some(0),
        }
    }
}

/// Whether `text` is a payload, according to another parser; `None` for a number beyond the range of a double, which that
/// parser cannot read.
fn is_payload(text: &str) -> Option<bool> {
    match serde_json::from_str(text) {
        Ok(node @ Node::Object(_)) => Some(node.depth().is_some_and(|depth| depth <= 8)),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Ok(_) | Err(_) => Some(false),
    }
}

/// The text of an object, with up to two characters inserted, removed or replaced.
fn damaged() -> impl Strategy<Value = String> {
    let odd = "{}[]:,\"\\ untfae01.-+/dD89\t\n\0\u{7f}é\u{ffff}😀";
    let odd = proptest::sample::select(odd.chars().collect::<Vec<_>>());
    let change = (any::<proptest::sample::Index>(), 0..3, odd);
    (objects(), proptest::collection::vec(change, 0..3)).prop_map(|(object, changes)| {
        let mut text: Vec<char> = Value::from(object).to_string().chars().collect();
        for (at, what, odd) in changes {
            let at = at.index(text.len());
            match what {
                0 => text.insert(at, odd),
                1 => drop(text.splice(at..=at, [odd, text[at]])),
                _ => drop(text.remove(at)),
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn a_sealed_object_opens_byte_for_byte(object in objects(), suite in proptest::sample::select(&SUITES[..])) {
        let (keys, _) = keys_and_token(suite);
        let object = Value::from(object);
        for text in [object.to_string(), serde_json::to_string_pretty(&object).unwrap()] {
            match keys.seal_at(&text, NOW) {
                Ok(token) => {
                    let opened = open(&keys, token.as_str(), &mut OpenBuffer::new());
                    prop_assert_eq!(opened.as_deref(), Ok(text.as_str()));
                }
                Err(SealError::TooLong) => prop_assert!(text.len() > 3000),
                Err(error) => prop_assert!(text.chars().any(is_noncharacter), "{error}: {text}"),
            }
        }
    }

    #[test]
    fn the_payload_reader_accepts_what_another_strict_json_reader_accepts(text in damaged()) {
        let (keys, _) = keys_and_token(Suite::Aes256Gcm);
        match keys.seal_at(&text, NOW) {
            Ok(_) => prop_assert_ne!(is_payload(&text), Some(false), "{}", text),
            Err(SealError::TooLong) => {}
            Err(_) => prop_assert_ne!(is_payload(&text), Some(true), "{}", text),
        }
    }

    #[test]
    fn invalid_input_is_refused(text in texts(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = text.repeat(9);
        for suite in SUITES {
            let (keys, token) = keys_and_token(suite);
            let mut buffer = OpenBuffer::new();
            let header = URL_SAFE_NO_PAD.decode(&token).unwrap()[..7].to_vec();
            let close = URL_SAFE_NO_PAD.encode([header, bytes.clone()].concat());
            for garbage in [text.clone(), format!("{}{text}", &token[..10]), URL_SAFE_NO_PAD.encode(&bytes), close] {
                prop_assert!(open(&keys, &garbage, &mut buffer).is_err());
                if let Ok(shown) = inspect(&garbage) {
                    let letter = char::from(shown.suite.letter());
                    prop_assert!(garbage.starts_with("bul") && garbage[3..].starts_with(letter));
                }
            }
        }
    }
}
