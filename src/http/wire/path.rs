//! The paths of requests to an app. An app may read a path in another way than Bulla: it may decode it, resolve dot segments, merge
//! slashes or cut parameters off. So a path with several readings is refused if the readings are judged differently.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// Checks that a path has no part that apps read in different ways: dot segments, and an encoded slash, dot, backslash or NUL.
pub(crate) fn check(path: &str) -> Result<(), BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath("The path must begin with a slash."));
    }
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        if encoded_byte(after).is_none() {
            return Err(BadPath("The path contains a percent sign that encodes no byte."));
        }
        rest = after;
    }
    check_hidden(path)
}

/// Refuses a path in which an app could see other segments than those that are written.
fn check_hidden(path: &str) -> Result<(), BadPath> {
    if path.contains(['\\', '\0']) {
        return Err(BadPath("The path contains a backslash or NUL."));
    }
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        if matches!(encoded_byte(after), Some(b'/' | b'.' | b'\\' | 0)) {
            return Err(BadPath("The path contains an encoded slash, dot, backslash or NUL."));
        }
        rest = after;
    }
    // A parameter after a dot segment (`..;x`) is cut off by some apps.
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    match path.split('/').any(dots) {
        true => Err(BadPath("The path contains a dot segment.")),
        false => Ok(()),
    }
}

/// The byte that the two digits after a percent sign encode.
fn encoded_byte(after: &str) -> Option<u8> {
    let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// The further readings of a path that has passed [`check`]: decoded once and twice, without parameters and without an encoded query
/// or fragment, with single slashes.
///
/// # Errors
///
/// A decoded path has a part that apps read in different ways.
pub(crate) fn readings(path: &str) -> Result<[Cow<'_, str>; 2], BadPath> {
    let once = reading(path);
    // Most paths have one reading, and `check` has seen it.
    if let Cow::Borrowed(once) = once {
        return Ok([once.into(), once.into()]);
    }
    check_hidden(&once)?;
    let twice = Cow::Owned(reading(&once).into_owned());
    check_hidden(&twice)?;
    Ok([once, twice])
}

/// The path decoded once, without parameters (`;x=1`) and without an encoded query or fragment, with single slashes.
pub(crate) fn reading(path: &str) -> Cow<'_, str> {
    if !path.contains(['%', ';', '?', '#']) && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let decoded = decoded.split(['?', '#']).next().unwrap_or_default();
    let mut read = String::with_capacity(decoded.len());
    let segments = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    for segment in segments.filter(|segment| !segment.is_empty()) {
        read.push('/');
        read.push_str(segment);
    }
    if read.is_empty() || decoded.ends_with('/') {
        read.push('/');
    }
    Cow::Owned(read)
}

/// Whether a path is the prefix or below it. A prefix ends at a slash: `/a` covers `/a` and `/a/b`, and not `/ab`.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The same without regard to case, as some apps compare paths.
pub(crate) fn is_below_in_any_case(path: &str, prefix: &str) -> bool {
    prefix == "/" || is_below(&path.to_lowercase(), &prefix.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_several_readings_are_refused() {
        for good in [
            "/",
            "/a/b",
            "/a/b/",
            "/%61",
            "/a.b",
            "/...",
            "/.well-known/x",
            "/a;b=c/d",
            "//a",
            "/%C3%A4",
            "/a%25",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "*",
            "a",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/..;x=1/b",
            "/.;/b",
            "/%2e",
            "/%2E%2e/a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/.%2e/",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_reading_of_a_path_is_decoded_and_has_single_slashes_and_no_parameters() {
        for (path, read) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("//", "/"),
            ("//a///b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/admin;x=1/y;z", "/admin/y"),
            ("/;/admin", "/admin"),
            ("/%C3%A4", "/ä"),
            ("/admin%3Bx", "/admin"),
            ("/admin%3Fx/y", "/admin"),
            ("/admin%23x", "/admin"),
        ] {
            assert_eq!(reading(path), read, "{path}");
        }
    }

    #[test]
    fn a_path_is_also_read_as_if_it_were_decoded_twice() {
        let read = |path| readings(path).map(|both| both.map(|read| read.into_owned()));
        assert_eq!(read("/a%25b"), Ok(["/a%b".to_owned(), "/a%b".to_owned()]));
        assert_eq!(read("/%2561dmin"), Ok(["/%61dmin".to_owned(), "/admin".to_owned()]));
        for bad in ["/a%252fb", "/%252e%252e/b", "/a%255cb", "/a%2500"] {
            assert!(check(bad).is_ok() && readings(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        for (path, prefix, below) in [
            ("/a", "/a", true),
            ("/a/", "/a", true),
            ("/a/b", "/a", true),
            ("/ab", "/a", false),
            ("/", "/a", false),
            ("/a/b", "/a/", true),
            ("/x", "/", true),
            ("/", "/", true),
        ] {
            assert_eq!(is_below(path, prefix), below, "{path} {prefix}");
        }
    }
}
