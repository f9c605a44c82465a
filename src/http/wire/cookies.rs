//! The cookies: their names and attributes, and a scanner that finds them without parsing other cookies (RFC 6265).

use std::{fmt, time::Duration};

use crate::{
    http::wire::request::{Header, Request, text},
    secret,
};

/// The names of the cookies, as in docs/design/http.md. For the prefix `__Host-Http-` the browser itself enforces `Secure`,
/// `HttpOnly`, `Path=/` and no `Domain`.
#[derive(Clone, Debug)]
pub(crate) struct CookieJar {
    access: &'static str,
    refresh: &'static str,
    domain: Option<String>,
}

/// The name of the cookie of a login at a provider; the id of the login follows. The cookie is for this host only, whatever
/// `cookie_domain` says.
const LOGIN: &str = "__Host-Http-bulla-login-";
/// The maximum number of login cookies that are read from one request. It is more than this server lets a browser keep.
const LOGINS: usize = 32;

/// The `Set-Cookie` lines of an answer. `Debug` shows their number only, because the lines contain tokens.
#[derive(Clone, Default)]
pub(crate) struct SetCookies(Vec<String>);

impl SetCookies {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of the `Set-Cookie` lines. They contain only characters that are valid in a header.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Removes the cookies that an answer already sets or clears by the lines `others`. The handler's cookies take precedence over
    /// the guard's, because the handler decides later, for example by a new session or a logout.
    #[must_use]
    pub(crate) fn besides<'a>(mut self, others: impl Iterator<Item = &'a [u8]>) -> Self {
        for other in others {
            self.0.retain(|line| name_of(line.as_bytes()) != name_of(other));
        }
        self
    }

    fn put(&mut self, name: &str, value: &str, max_age: u64, domain: &str) {
        let line =
            format!("{name}={value}; Max-Age={max_age}; Path=/{domain}; Secure; HttpOnly; SameSite=Lax");
        // Names, base64url and a checked domain contain only characters that are valid in a header.
        if text(line.as_bytes()).is_some() {
            self.0.push(line);
        }
    }
}

impl fmt::Debug for SetCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetCookies({})", self.0.len())
    }
}

/// A cookie occurs more than once with different values, and it is not known which value is right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The tokens in the cookies of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CookieTokens<'a> {
    pub(crate) access: Option<&'a str>,
    pub(crate) refresh: Option<&'a str>,
    /// The logins at providers and the nonces: the id at the end of each cookie's name, and its token.
    pub(crate) logins: Vec<(&'a str, &'a str)>,
}

impl CookieTokens<'_> {
    /// Whether the request has any of these cookies.
    pub(crate) fn any(&self) -> bool {
        self.access.is_some() || self.refresh.is_some() || !self.logins.is_empty()
    }
}

impl CookieJar {
    pub(crate) fn new(domain: Option<String>) -> Self {
        match domain {
            None => Self { access: "__Host-Http-bulla-access", refresh: "__Host-Http-bulla-refresh", domain },
            Some(_) => Self { access: "__Secure-bulla-access", refresh: "__Secure-bulla-refresh", domain },
        }
    }

    /// Whether all subdomains of a domain share the cookies.
    #[cfg(feature = "actix")]
    pub(crate) fn are_shared(&self) -> bool {
        self.domain.is_some()
    }

    /// Finds the cookies in all `Cookie` lines. Other text is ignored.
    pub(crate) fn read<'a>(&self, request: &'a impl Request) -> Result<CookieTokens<'a>, Ambiguous> {
        let mut cookie_tokens = CookieTokens::default();
        for line in request.values(Header::Cookie) {
            // A line with bytes beyond ASCII can still contain valid cookies, so each pair is checked separately.
            let mut start = 0;
            for end in memchr::memchr_iter(b';', line).chain([line.len()]) {
                let pair = line[start..end].trim_ascii_start();
                start = end + 1;
                // The names of Bulla's cookies begin with `__`, and few other names do.
                if !pair.starts_with(b"__") {
                    continue;
                }
                let (slot, value) = if let Some(value) = value_of(pair, self.access) {
                    (&mut cookie_tokens.access, value)
                } else if let Some(value) = value_of(pair, self.refresh) {
                    (&mut cookie_tokens.refresh, value)
                } else {
                    if let Some((id, token)) = login_of(pair) {
                        add_login(&mut cookie_tokens.logins, id, token)?;
                    }
                    continue;
                };
                let value = std::str::from_utf8(value).map_err(|_| Ambiguous)?;
                if slot.replace(value).is_some_and(|earlier| earlier != value) {
                    return Err(Ambiguous);
                }
            }
        }
        Ok(cookie_tokens)
    }

    /// Sets the access cookie.
    pub(crate) fn set_access(&self, cookies: &mut SetCookies, token: &str, max_age: Duration) {
        self.set(cookies, self.access, token, shortened(max_age));
    }

    /// Sets the refresh cookie.
    pub(crate) fn set_refresh(&self, cookies: &mut SetCookies, token: &str, max_age: Duration) {
        self.set(cookies, self.refresh, token, shortened(max_age));
    }

    /// Sets the cookie of a login at a provider.
    pub(crate) fn set_login(cookies: &mut SetCookies, id: &str, token: &str, max_age: Duration) {
        cookies.put(&format!("{LOGIN}{id}"), token, max_age.as_secs(), "");
    }

    /// Clears the cookie of a login, because the login has ended or there are too many.
    pub(crate) fn clear_login(cookies: &mut SetCookies, id: &str) {
        cookies.put(&format!("{LOGIN}{id}"), "", 0, "");
    }

    /// The bytes that such a cookie takes in a request, including `=`, `;` and the space.
    pub(crate) fn login_size(id: &str, token: &str) -> usize {
        LOGIN.len() + id.len() + token.len() + 3
    }

    /// Clears the access cookie and the refresh cookie. Used only when a request with cookies explicitly ends its own session.
    pub(crate) fn clear(&self, cookies: &mut SetCookies) {
        self.set(cookies, self.access, "", 0);
        self.set(cookies, self.refresh, "", 0);
    }

    fn set(&self, cookies: &mut SetCookies, name: &str, value: &str, max_age: u64) {
        let domain = self.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        cookies.put(name, value, max_age, &domain);
    }
}

/// The name of the cookie that a `Set-Cookie` line sets.
fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// Whether a pair of a `Cookie` line, or a `Set-Cookie` line, has a name of Bulla's cookies: a prefix that browsers enforce, then
/// `bulla-`. Browsers compare the prefixes without regard to case (RFC 6265bis, section 4.1.3).
#[cfg(feature = "actix")]
pub(crate) fn is_own_cookie(pair: &[u8]) -> bool {
    let name = name_of(pair).trim_ascii();
    let begins_with = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    ["__host-http-bulla-", "__host-bulla-", "__secure-bulla-"].into_iter().any(begins_with)
}

/// A `Cookie` line without Bulla's cookies. The cookies of the app stay as they are.
#[cfg(feature = "actix")]
pub(crate) fn cookies_of_app(line: &[u8]) -> Vec<u8> {
    let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let foreign: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty() && !is_own_cookie(pair)).collect();
    foreign.join(&b"; "[..])
}

/// The value of the pair with this name, without surrounding spaces and quotes. Names contain no `=`.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// The id and the token in the cookie of a login. `None` for a pair of another form.
fn login_of(pair: &[u8]) -> Option<(&str, &str)> {
    let pair = std::str::from_utf8(pair).ok()?;
    let (id, _) = pair.strip_prefix(LOGIN)?.split_once('=')?;
    let id = id.trim_end();
    let is_id = (8..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let token = value_of(&pair.as_bytes()[LOGIN.len()..], id).filter(|_| is_id)?;
    Some((id, std::str::from_utf8(token).ok()?))
}

/// Adds a login, up to [`LOGINS`]. The same id with another token is ambiguous.
fn add_login<'a>(logins: &mut Vec<(&'a str, &'a str)>, id: &'a str, token: &'a str) -> Result<(), Ambiguous> {
    match logins.iter().find(|(known, _)| *known == id) {
        Some((_, known)) if *known != token => return Err(Ambiguous),
        None if logins.len() < LOGINS => logins.push((id, token)),
        Some(_) | None => {}
    }
    Ok(())
}

/// Shortens a `Max-Age` by up to 5 % at random, so that sessions that began together are not renewed at the same time. In seconds,
/// and never 0, because 0 would clear the cookie.
fn shortened(max_age: Duration) -> u64 {
    let most = max_age.as_secs().max(1);
    let mut byte = [0];
    // Without randomness the value is not shortened.
    if secret::random(&mut byte).is_err() {
        return most;
    }
    most - most * u64::from(byte[0]) / (20 * 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::wire::request::sample::Sample;

    fn read(lines: &[&str]) -> Result<(Option<String>, Option<String>), Ambiguous> {
        let request = lines.iter().fold(Sample::get(), |request, line| request.header("Cookie", line));
        let cookie_tokens = CookieJar::new(None).read(&request)?;
        Ok((cookie_tokens.access.map(Into::into), cookie_tokens.refresh.map(Into::into)))
    }

    const A: &str = "__Host-Http-bulla-access";
    const R: &str = "__Host-Http-bulla-refresh";

    #[test]
    fn both_tokens_are_found_among_other_text_on_any_line() {
        let both = Ok((Some("a1".into()), Some("r1".into())));
        assert_eq!(read(&[&format!("{A}=a1; {R}=r1")]), both);
        assert_eq!(read(&[&format!(";;; =x; name; {A}=a1;x=y=z; "), &format!("q=\"1\";{R}=\"r1\"")]), both);
        assert_eq!(read(&[&format!("{A}=a1; {A}=a1; {R}=r1")]), both, "twice the same is one");
        assert_eq!(read(&[&format!("{}=a1; x{A}=2; {A}x=3", A.to_uppercase())]), Ok((None, None)));
        assert_eq!(read(&["__Secure-bulla-access=a1"]), Ok((None, None)), "the other installation's name");
    }

    #[test]
    fn two_values_of_one_name_are_refused() {
        assert_eq!(read(&[&format!("{A}=a1; {A}=a2")]), Err(Ambiguous));
        assert_eq!(read(&[&format!("{R}=r1"), &format!("{R}=r2")]), Err(Ambiguous));
    }

    #[test]
    fn each_login_has_its_own_cookie_and_their_number_is_bounded() {
        let logins = |line: &str| {
            let request = Sample::get().header("Cookie", line);
            let cookie_tokens = CookieJar::new(None).read(&request)?;
            Ok(cookie_tokens.logins.iter().map(|(id, token)| format!("{id}={token}")).collect::<Vec<_>>())
        };
        let two = format!("{LOGIN}0123456789abcdef=t1; {LOGIN}0123456789abcdee=\"t2\"; {A}=a");
        assert_eq!(logins(&two), Ok(vec!["0123456789abcdef=t1".into(), "0123456789abcdee=t2".into()]));
        for none in ["x=1", "=1", "short=1", "0123456789abcdef0=1", "0123456789-abcde=1", "0123456789abcdef"]
        {
            assert_eq!(logins(&format!("{LOGIN}{none}")), Ok(vec![]), "{none}");
        }
        assert_eq!(logins("__Host-Http-bulla-login=t"), Ok(vec![]));
        assert_eq!(logins(&format!("{LOGIN}01234567=t1; {LOGIN}01234567=t2")), Err(Ambiguous));
        let many: Vec<_> = (0..100).map(|n| format!("{LOGIN}{n:016}=t")).collect();
        assert_eq!(logins(&many.join("; ")).unwrap().len(), LOGINS);
    }

    #[test]
    fn a_cookie_has_all_attributes_and_its_age_is_at_most_5_percent_shorter() {
        let mut ages = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut cookies = SetCookies::default();
            CookieJar::new(None).set_refresh(&mut cookies, "t", Duration::from_secs(1800));
            let text = cookies.lines().next().unwrap().to_owned();
            let (head, tail) = text.split_once("; Path").unwrap();
            assert_eq!(tail, "=/; Secure; HttpOnly; SameSite=Lax");
            ages.insert(head.strip_prefix(&format!("{R}=t; Max-Age=")).unwrap().parse::<u64>().unwrap());
        }
        assert!(*ages.first().unwrap() >= 1710 && *ages.last().unwrap() <= 1800 && ages.len() > 10);
    }

    #[test]
    fn a_life_below_one_second_does_not_clear_a_cookie() {
        for millis in [0, 1, 400, 999, 1000, 1999] {
            assert_eq!(shortened(Duration::from_millis(millis)), 1, "{millis} ms");
        }
    }

    #[test]
    fn a_cookie_domain_changes_the_names_and_is_an_attribute() {
        let mut cookies = SetCookies::default();
        CookieJar::new(Some("example.org".into())).clear(&mut cookies);
        let all: Vec<_> = cookies.lines().collect();
        let tail = "Max-Age=0; Path=/; Domain=example.org; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(
            all,
            [format!("__Secure-bulla-access=; {tail}"), format!("__Secure-bulla-refresh=; {tail}")]
        );
    }
}
