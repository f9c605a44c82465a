//! Compares the names of users, in the same way in every store.

use unicode_normalization::UnicodeNormalization as _;

use crate::store::{StoreError, UserRow};

/// Folds a name. Names that look alike (by case or homoglyphs: UTS 39) have the same folding, which is unique in the table. A
/// capital I looks like a small l, and case is ignored, so the letters i and l fold to the same letter.
pub(crate) fn fold(name: &str) -> String {
    // Converts to upper case first, because only this turns a sharp s into "ss".
    let lower = name.nfkc().collect::<String>().to_uppercase().to_lowercase();
    unicode_security::skeleton(&lower).collect::<String>().to_lowercase().replace('i', "l")
}

/// The longest name of a user or a client, in characters.
pub const NAME_MAX: usize = 128;

/// The rule for the name of a user.
pub const NAME_RULE: &str = "a name must have 1 to 128 characters, at least one of them visible, without control \
    characters, and without blanks at the start or end";

/// The rule for the name of a client.
pub const CLIENT_NAME_RULE: &str = "a name must have 1 to 128 characters, without control characters, and without blanks at the start or end";

/// The rule for a role that the command line gives to a user.
pub const ROLE_RULE: &str = "a role must match [A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}";

/// Whether a role follows [`ROLE_RULE`].
pub fn is_good_role(role: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
    (1..=64).contains(&role.len())
        && role.bytes().all(plain)
        && role.starts_with(|first: char| first.is_ascii_alphanumeric())
}

/// Whether a new user may have this name ([`NAME_RULE`]).
pub fn is_good_name(name: &str) -> bool {
    is_plain_name(name)
        // Invisible characters fold to nothing: U+FEFF and the like (Default_Ignorable_Code_Point), and the blank Braille cell.
        && !fold(name).replace('\u{2800}', "").trim().is_empty()
}

/// Whether a name has 1 to [`NAME_MAX`] characters, no control characters, and no blanks at the start or end
/// ([`CLIENT_NAME_RULE`]).
pub fn is_plain_name(name: &str) -> bool {
    let length = name.chars().take(NAME_MAX + 1).count();
    (1..=NAME_MAX).contains(&length) && !name.chars().any(char::is_control) && name.trim() == name
}

/// Refuses a new user whose name breaks [`NAME_RULE`].
pub(in crate::store) fn check(name: &str) -> Result<(), StoreError> {
    if is_good_name(name) { Ok(()) } else { Err(StoreError::Conflict(NAME_RULE.into())) }
}

/// The name, normalized in case and composition only.
fn plain(name: &str) -> String {
    name.nfkc().collect::<String>().to_lowercase()
}

/// The possible values of `users.folded` for this name: the folding, or the value that a trigger computes for a row inserted by
/// hand.
pub(in crate::store) fn spellings(name: &str) -> [String; 3] {
    [fold(name), plain(name), name.to_lowercase()]
}

/// Selects, from the rows with the same folding, the row whose name differs only in case and composition.
pub(in crate::store) fn pick(rows: impl IntoIterator<Item = UserRow>, name: &str) -> Option<UserRow> {
    rows.into_iter().find(|row| plain(&row.name) == plain(name))
}

/// The error for a name that is already taken.
pub(in crate::store) fn taken() -> StoreError {
    StoreError::Conflict(
        "the name is taken, or looks like a taken name (names must differ by more than upper and lower case and \
         similar letters)"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invisible_name_is_refused() {
        for bad in [
            "",
            " ",
            " ada",
            "ada\u{3000}",
            "a\nb",
            "\u{feff}",
            "\u{200b}\u{2060}",
            "\u{3164}",
            "\u{2800}",
            "\u{ad}",
        ] {
            assert!(!is_good_name(bad), "{bad:?}");
        }
        assert!(!is_good_name(&"a".repeat(NAME_MAX + 1)) && is_good_name(&"a".repeat(NAME_MAX)));
        assert!(
            [NAME_RULE, CLIENT_NAME_RULE]
                .iter()
                .all(|rule| rule.contains(&format!("1 to {NAME_MAX} characters")))
        );
        for good in ["ada", "Ada Lovelace", "\u{1f511}", "a\u{200d}da", "@"] {
            assert!(is_good_name(good), "{good:?}");
        }
    }

    #[test]
    fn a_role_follows_its_pattern() {
        for good in ["a", "admin", "Ops-2", "team:blue", "a/b@c.d_e+f", &"r".repeat(64)] {
            assert!(is_good_role(good), "{good}");
        }
        for bad in ["", " ", "-a", ".a", "a b", "a,b", "a\"b", "r\u{f6}le", "a\n", &"r".repeat(65)] {
            assert!(!is_good_role(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_that_look_alike_have_the_same_folding() {
        for (name, looks_like) in [
            ("ada", "ADA"),
            ("ada", "\u{430}d\u{430}"),
            ("ada", "a\u{200d}da"),
            ("ada", "\u{ff41}da"),
            ("paypal", "paypa1"),
            ("paypal", "paypaI"),
            ("Ian", "lan"),
            ("modern", "modem"),
            ("bob", "b0b"),
            ("stra\u{df}e", "STRASSE"),
        ] {
            assert_eq!(fold(name), fold(looks_like), "{name} {looks_like}");
        }
        for (name, other) in [("ada", "adb"), ("ada", "add"), ("ada", "adaa"), ("bob", "rob")] {
            assert_ne!(fold(name), fold(other), "{name} {other}");
        }
    }
}
