//! The error for a setting that can't be used, and suggestions for misspelled names.

/// The error for a setting that can't be used: its name, its place and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// Returns the most similar of `knobs` as the error if `name` is not one of them. The error is `None` if none is similar.
pub(super) fn suggest<'a>(
    knobs: impl Iterator<Item = &'a str> + Clone,
    name: &str,
) -> Result<(), Option<&'a str>> {
    if knobs.clone().any(|knob| knob == name) {
        return Ok(());
    }
    // At most three letters may differ, and at most half of them.
    let close = |knob: &&str| distance(knob, name) <= 3.min(name.len() / 2);
    Err(knobs.min_by_key(|knob| distance(knob, name)).filter(close))
}

/// Formats a suggestion as the end of an error message.
pub(super) fn hint(near: Option<&str>) -> String {
    near.map(|knob| format!("; did you mean {knob}?")).unwrap_or_default()
}

/// Returns the Levenshtein distance of two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}
