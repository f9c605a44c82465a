//! Header lines whose values share one block of memory, because the gateway adds about ten lines to each request.

use bytes::Bytes;

/// Header lines, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Lines {
    text: String,
    /// The name of each line, and where its value ends in `text`.
    ends: Vec<(&'static str, usize)>,
}

impl Lines {
    /// No lines, and room for the usual ones.
    pub(crate) fn new() -> Self {
        Self { text: String::with_capacity(256), ends: Vec::with_capacity(10) }
    }

    /// Adds a line. `write` appends the value to the text.
    pub(crate) fn add(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push((name, self.text.len()));
    }

    /// The names and values.
    pub(crate) fn finish(self) -> impl Iterator<Item = (&'static str, Bytes)> {
        let text = Bytes::from(self.text);
        let mut start = 0;
        self.ends.into_iter().map(move |(name, end)| {
            let value = text.slice(start..end);
            start = end;
            (name, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_own_value() {
        let mut lines = Lines::new();
        lines.add("a", |text| text.push_str("one"));
        lines.add("b", |_| {});
        lines.add("c", |text| text.push_str("two"));
        let lines: Vec<(&str, Bytes)> = lines.finish().collect();
        assert_eq!(lines, [("a", Bytes::from("one")), ("b", Bytes::new()), ("c", Bytes::from("two"))]);
    }
}
