//! How names of users are compared, the same in every store.

use unicode_normalization::UnicodeNormalization as _;

use super::{StoreError, UserRow};

/// What can't be told apart (case, homoglyphs: UTS 39) is one name. Unique in the table.
pub(super) fn fold(name: &str) -> String {
    unicode_security::skeleton(&plain(name)).collect::<String>().to_lowercase()
}

/// The name but for case and composition.
fn plain(name: &str) -> String {
    name.nfkc().collect::<String>().to_lowercase()
}

/// What `users.folded` may hold for this name: the folding, or what a trigger made of a name typed in by hand.
pub(super) fn spellings(name: &str) -> [String; 3] {
    [fold(name), plain(name), name.to_lowercase()]
}

/// Of the rows that a folding finds, the one whose name agrees but for case and composition.
pub(super) fn pick(rows: impl IntoIterator<Item = UserRow>, name: &str) -> Option<UserRow> {
    rows.into_iter().find(|row| plain(&row.name) == plain(name))
}

/// Why a name can't be had.
pub(super) fn taken() -> StoreError {
    StoreError::Conflict(
        "the name is taken, or looks like one that is (names differ by more than case and look-alike letters)"
            .into(),
    )
}
