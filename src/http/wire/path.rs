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
    if path.contains('\\') {
        return Err(BadPath("The path contains a backslash."));
    }
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        let code = after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            None => return Err(BadPath("The path contains a percent sign that encodes no byte.")),
            Some(b'/' | b'.' | b'\\' | 0) => {
                return Err(BadPath("The path contains an encoded slash, dot, backslash or NUL."));
            }
            Some(_) => rest = after,
        }
    }
    // A parameter after a dot segment (`..;x`) is cut off by some apps.
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if path.split('/').any(dots) {
        return Err(BadPath("The path contains a dot segment."));
    }
    Ok(())
}

/// The path as an app may read it: decoded, without parameters (`;x=1`), with single slashes. The path must have passed [`check`].
pub(crate) fn reading(path: &str) -> Cow<'_, str> {
    if !path.contains(['%', ';']) && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    let mut read = String::with_capacity(path.len());
    for segment in segments.filter(|segment| !segment.is_empty()) {
        read.push('/');
        read.push_str(&percent_decode_str(segment).decode_utf8_lossy());
    }
    if read.is_empty() || path.ends_with('/') {
        read.push('/');
    }
    Cow::Owned(read)
}

/// Whether a path is the prefix or below it. A prefix ends at a slash: `/a` covers `/a` and `/a/b`, and not `/ab`.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
        ] {
            assert_eq!(reading(path), read, "{path}");
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
