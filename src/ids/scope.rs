//! What a token may be used for (RFC 6749, section 3.3).

use std::{fmt, str::FromStr};

use super::BadName;

/// A set of scopes: words of printable ASCII without quotes and backslashes, each once, in the order they were first named.
/// At most 16 of at most 64 characters, so that a token can carry them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// Checks each word and takes them over.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, BadName> {
        let mut scope = Self::default();
        for word in words.into_iter().map(Into::into) {
            let plain = |c: u8| c.is_ascii_graphic() && c != b'"' && c != b'\\';
            if !(1..=64).contains(&word.len()) || !word.bytes().all(plain) {
                return Err(bad());
            }
            if !scope.contains(&word) {
                scope.0.push(word);
            }
        }
        if scope.0.len() > 16 { Err(bad()) } else { Ok(scope) }
    }

    /// The words.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names `word`.
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    /// Whether it names nothing that `other` doesn't.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|word| other.contains(word))
    }

    /// What both name.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|word| other.contains(word)).cloned().collect())
    }
}

fn bad() -> BadName {
    BadName {
        what: "scope",
        rule: "at most 16 words of at most 64 characters, printable ASCII without quotes and backslashes",
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl FromStr for Scope {
    type Err = BadName;

    /// Words with one blank between them; an empty text is the empty scope.
    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.is_empty() { Ok(Self::default()) } else { Self::new(text.split(' ')) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn a_scope_is_a_set_of_words() {
        assert_eq!(scope("read write read").to_string(), "read write");
        assert!(scope("").is_empty() && scope("").is_within(&scope("")));
        assert!(scope("b a").is_within(&scope("a b c")) && !scope("a d").is_within(&scope("a b c")));
        assert!(!scope("rea").is_within(&scope("read")) && !scope("Read").is_within(&scope("read")));
        assert_eq!(scope("a b d").and(&scope("d c b")), scope("b d"));
        for bad in ["a  b", " a", "a ", "a\tb", "a\"b", "a\\b", "\u{e9}", &"a".repeat(65)] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
        let many = |n: usize| Scope::new((0..n).map(|n| format!("s{n}")));
        assert!(many(16).is_ok() && many(17).is_err());
    }
}
