//! Strict JSON (RFC 7493): one object, no duplicate keys, no lone surrogates, no noncharacters, at most 8 deep.
//!
//! The scan builds no tree. It allocates only when the currently open objects have more than 24 keys together.

/// The greatest depth of objects and arrays; the outermost object has depth 1.
const MAX_DEPTH: usize = 8;

/// The text breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotStrict;

type Scan<T> = Result<T, NotStrict>;

/// Checks that `bytes` are UTF-8 and one strict JSON object.
pub(super) fn check(bytes: &[u8]) -> Scan<&str> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotStrict)?;
    // Most payloads are ASCII and can't contain noncharacters.
    if !text.is_ascii() && text.chars().any(is_noncharacter) {
        return Err(NotStrict);
    }
    let mut scanner = Scanner { text: bytes, keys: Keys::default() };
    let start = scanner.blank(0);
    if scanner.peek(start) != Some(b'{') {
        return Err(NotStrict);
    }
    let end = scanner.value(start, 1)?;
    if scanner.blank(end) == bytes.len() { Ok(text) } else { Err(NotStrict) }
}

/// Returns the text if it is one strict JSON object (RFC 7493, at most 8 deep). Also used for tokens of other issuers.
pub fn strict_json(bytes: &[u8]) -> Option<&str> {
    // Positions of keys are stored in 16 bits.
    (bytes.len() <= usize::from(u16::MAX)).then(|| check(bytes).ok()).flatten()
}

/// The position of a key without its quotes, and whether it has escapes.
#[derive(Clone, Copy, Default)]
struct Key {
    start: u16,
    end: u16,
    escaped: bool,
}

impl Key {
    /// The position after the closing quote of the key.
    fn after(self) -> usize {
        usize::from(self.end) + 1
    }
}

/// The keys of the objects that are open, innermost last.
#[derive(Default)]
struct Keys {
    first: [Key; 24],
    more: Vec<Key>,
    len: usize,
}

impl Keys {
    fn push(&mut self, key: Key) {
        match self.first.get_mut(self.len) {
            Some(slot) => *slot = key,
            None => self.more.push(key),
        }
        self.len += 1;
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        self.more.truncate(len.saturating_sub(self.first.len()));
    }

    /// Whether one of the keys from index `mark` on is equal to `key`.
    fn repeat(&self, text: &[u8], mark: usize, key: Key) -> bool {
        let first = self.first.get(mark..self.len.min(self.first.len())).unwrap_or_default();
        let more = self.more.get(mark.saturating_sub(self.first.len())..).unwrap_or_default();
        first.iter().any(|earlier| same(text, *earlier, key))
            || more.iter().any(|earlier| same(text, *earlier, key))
    }
}

/// Each method takes the position where it begins and returns the position after it. A field for the position would be slower: it
/// would be written to memory and read back at every byte.
struct Scanner<'a> {
    text: &'a [u8],
    keys: Keys,
}

impl Scanner<'_> {
    fn peek(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn blank(&self, mut at: usize) -> usize {
        while matches!(self.peek(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    fn eat(&self, at: usize, byte: u8) -> Scan<usize> {
        if self.peek(at) == Some(byte) { Ok(at + 1) } else { Err(NotStrict) }
    }

    /// Strings are handled inline, because most values are strings.
    #[inline(always)]
    fn value(&mut self, at: usize, depth: usize) -> Scan<usize> {
        match self.peek(at) {
            Some(b'"') => self.string(at).map(Key::after),
            _ => self.other(at, depth),
        }
    }

    fn other(&mut self, at: usize, depth: usize) -> Scan<usize> {
        match self.peek(at).ok_or(NotStrict)? {
            b'{' if depth <= MAX_DEPTH => self.object(at, depth),
            b'[' if depth <= MAX_DEPTH => self.array(at, depth),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            _ => self.number(at),
        }
    }

    fn object(&mut self, at: usize, depth: usize) -> Scan<usize> {
        let mark = self.keys.len;
        let mut at = self.blank(at + 1);
        if self.peek(at) == Some(b'}') {
            return Ok(at + 1);
        }
        loop {
            let key = self.string(self.blank(at))?;
            if self.keys.repeat(self.text, mark, key) {
                return Err(NotStrict);
            }
            self.keys.push(key);
            at = self.eat(self.blank(key.after()), b':')?;
            at = self.value(self.blank(at), depth + 1)?;
            at = self.blank(at);
            match self.peek(at) {
                Some(b',') => at += 1,
                _ => break,
            }
        }
        self.keys.truncate(mark);
        self.eat(at, b'}')
    }

    fn array(&mut self, at: usize, depth: usize) -> Scan<usize> {
        let mut at = self.blank(at + 1);
        if self.peek(at) == Some(b']') {
            return Ok(at + 1);
        }
        loop {
            at = self.value(self.blank(at), depth + 1)?;
            at = self.blank(at);
            match self.peek(at) {
                Some(b',') => at += 1,
                _ => break,
            }
        }
        self.eat(at, b']')
    }

    fn word(&self, at: usize, word: &[u8]) -> Scan<usize> {
        if self.text[at..].starts_with(word) { Ok(at + word.len()) } else { Err(NotStrict) }
    }

    fn digits(&self, start: usize) -> Scan<usize> {
        let mut at = start;
        while matches!(self.peek(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        if at > start { Ok(at) } else { Err(NotStrict) }
    }

    fn number(&self, at: usize) -> Scan<usize> {
        let skip = |at, wanted: &[u8]| at + usize::from(self.peek(at).is_some_and(|b| wanted.contains(&b)));
        let start = skip(at, b"-");
        let mut at = if self.peek(start) == Some(b'0') { start + 1 } else { self.digits(start)? };
        if self.peek(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if matches!(self.peek(at), Some(b'e' | b'E')) {
            at = self.digits(skip(at + 1, b"+-"))?;
        }
        Ok(at)
    }

    #[inline(always)]
    fn string(&self, at: usize) -> Scan<Key> {
        let start = self.eat(at, b'"')?;
        let (mut end, mut escaped) = (self.plain(start), false);
        if self.peek(end) != Some(b'"') {
            (end, escaped) = self.rest_of_string(end)?;
        }
        let place = |at: usize| u16::try_from(at).map_err(|_| NotStrict);
        Ok(Key { start: place(start)?, end: place(end)?, escaped })
    }

    /// The position of the closing quote, and whether the string has an escape.
    #[cold]
    fn rest_of_string(&self, mut at: usize) -> Scan<(usize, bool)> {
        let mut escaped = false;
        loop {
            match self.peek(at).ok_or(NotStrict)? {
                b'"' => return Ok((at, escaped)),
                b'\\' => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                0..0x20 => return Err(NotStrict),
                _ => at += 1,
            }
            at = self.plain(at);
        }
    }

    /// Skips characters without a special meaning, eight bytes at a time.
    #[inline(always)]
    fn plain(&self, mut at: usize) -> usize {
        const EACH: u64 = u64::MAX / 0xff;
        // Sets the high bit of each byte that is less than `than`. Only the lowest set bit is reliable; higher ones may be wrong.
        let below = |eight: u64, than: u64| eight.wrapping_sub(EACH * than) & !eight & (EACH << 7);
        for eight in self.text[at..].as_chunks::<8>().0 {
            let eight = u64::from_le_bytes(*eight);
            let quote = below(eight ^ (EACH * u64::from(b'"')), 1);
            let backslash = below(eight ^ (EACH * u64::from(b'\\')), 1);
            let special = quote | backslash | below(eight, 0x20);
            at += special.trailing_zeros() as usize / 8;
            if special != 0 {
                break;
            }
        }
        at
    }

    /// Parses one escape. A high surrogate must be followed by a low one, and a low surrogate must not stand alone.
    fn escape(&self, at: usize) -> Scan<usize> {
        let (character, length) = unescape(&self.text[at..]).ok_or(NotStrict)?;
        if is_noncharacter(character) { Err(NotStrict) } else { Ok(at + length) }
    }
}

/// Code points that no text may contain (RFC 7493, 2.1): U+FDD0 to U+FDEF, and the last two of each plane.
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// The character that an escape stands for, and its length in bytes.
fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let simple = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex4(text.get(2..6)?)?;
            if let Some(c) = char::from_u32(high) {
                return Some((c, 6));
            }
            let low = text.get(6..8).filter(|next| *next == b"\\u").and(hex4(text.get(8..12)?))?;
            if high >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
                return None;
            }
            return Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12));
        }
        _ => return None,
    };
    Some((simple, 2))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
}

/// Whether two keys are equal after their escapes are decoded.
fn same(text: &[u8], a: Key, b: Key) -> bool {
    let slice = |key: Key| &text[usize::from(key.start)..usize::from(key.end)];
    if !a.escaped && !b.escaped {
        return slice(a) == slice(b);
    }
    characters(slice(a)).eq(characters(slice(b)))
}

/// The bytes of a checked string, unescaped.
fn characters(mut text: &[u8]) -> impl Iterator<Item = u8> {
    let mut pending = [0; 4];
    let (mut next, mut len) = (0, 0);
    std::iter::from_fn(move || {
        if next < len {
            next += 1;
            return Some(pending[next - 1]);
        }
        if text.first() == Some(&b'\\') {
            let (c, used) = unescape(text)?;
            text = &text[used..];
            len = c.encode_utf8(&mut pending).len();
            next = 1;
            return Some(pending[0]);
        }
        let (first, rest) = text.split_first()?;
        text = rest;
        Some(*first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_strict_object_is_accepted() {
        let deep = format!("{}{}{}", r#"{"a":"#.repeat(7), "{}", "}".repeat(7));
        for good in [
            "{}",
            r#"{"id":"42"}"#,
            r#" { "a" : [ 1 , -0.5e+3 , true , false , null , "x" ] } "#,
            r#"{"\ud83d\ude00":"\u0061\n"}"#,
            r#"{"a":{"a":1},"b":{"a":1}}"#,
            r#"{"ключ":"значение"}"#,
            "{\"\u{fdcf}\u{fdf0}\u{fffd}\":\"\u{10fffd}\"}",
            &deep,
        ] {
            assert_eq!(check(good.as_bytes()), Ok(good));
        }
    }

    #[test]
    fn text_that_is_not_one_strict_object_is_refused() {
        let deep = format!("{}{}{}", r#"{"a":"#.repeat(8), "{}", "}".repeat(8));
        let abyss = "[".repeat(10_000);
        let in_object = format!(r#"{{"a":{abyss}"#);
        for bad in [
            "",
            " ",
            "[]",
            "1",
            "null",
            r#""a""#,
            "{",
            "}",
            "{}{}",
            "{}x",
            "\u{feff}{}",
            r#"{"a":1,}"#,
            r#"{,}"#,
            r#"{"a"}"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            r#"{"a":NaN}"#,
            r#"{"a":tru}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1 "b":2}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\ud800\u0041"}"#,
            r#"{"a":"\ud800\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            r#"{"a":"\u+041"}"#,
            r#"{"a":"\uffff"}"#,
            r#"{"\ud83f\udffe":1}"#,
            "{\"a\":\"\u{fdd0}\"}",
            "{\"\u{10ffff}\":1}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"x":{"\/":1,"/":2}}"#,
            r#"{"a":"}"#,
            &deep,
            &abyss,
            &in_object,
        ] {
            assert_eq!(check(bad.as_bytes()), Err(NotStrict), "{bad:.60}");
        }
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(NotStrict));
    }

    #[test]
    fn strings_of_any_length_end_at_their_quote() {
        for before in 0..70 {
            for length in (0..140).chain([250, 300]) {
                let text = format!(r#"{{"{}":["","{}",""]}}"#, "k".repeat(before), "é".repeat(length));
                assert_eq!(check(text.as_bytes()), Ok(text.as_str()));
                let (open, closed) = text.rsplit_once('"').unwrap();
                for bad in [format!("{open}{closed}"), format!("{open}\u{1f}\"{closed}"), format!("{text}\"")]
                {
                    assert_eq!(check(bad.as_bytes()), Err(NotStrict), "{bad:?}");
                }
            }
        }
    }

    #[test]
    fn duplicates_are_found_among_many_keys() {
        let keys = |n: usize| (0..n).map(|i| format!(r#""{i}":0"#)).collect::<Vec<_>>().join(",");
        assert!(check(format!("{{{}}}", keys(300)).as_bytes()).is_ok());
        for early in [0, 23, 24, 25, 299] {
            let text = format!(r#"{{{},"{early}":1}}"#, keys(300));
            assert_eq!(check(text.as_bytes()), Err(NotStrict), "{early}");
        }
    }
}
