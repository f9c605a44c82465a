//! The scope of a token: the set of words that say what it permits (RFC 6749, section 3.3).

use std::{fmt, str::FromStr};

use super::BadName;

/// A set of scope words. A word has 1 to 64 characters of printable ASCII without quotes and backslashes. The set keeps the order
/// of the first mention and has at most 16 words, so that a token can carry it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<String>);

impl Scope {
    /// A scope of these words. A repeated word counts once.
    ///
    /// # Errors
    ///
    /// [`BadName`] if a word is not valid, or if there are more than 16 different words.
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

    /// The words, in the order of their first mention.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether the scope has no words.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the scope contains `word`. Takes linear time; there are at most 16 words.
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    /// Whether `other` contains all words of this scope.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|word| other.contains(word))
    }

    /// The words that both scopes contain, in the order of this one.
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

    /// Parses words with one space between them. An empty text is the empty scope.
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
