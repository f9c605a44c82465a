//! Logs one line for each request at level `debug`: the caller, the request, the address and the answer. Other lines that the
//! request causes have its id, by a span.

use std::{
    cell::OnceCell,
    fmt::{self, Write as _},
    time::Instant,
};

use tracing::{Instrument as _, Level, field};

use crate::{
    http::{
        Site,
        wire::{address::Address, request::Request},
    },
    secret::random,
};

tokio::task_local! {
    /// The caller of the request, as soon as it is known.
    static WHO: OnceCell<String>;
}

/// Sets the caller of a request: a user id, or a client as in audit events. Only the first call counts. `who` is evaluated only if
/// a line will be written.
pub(crate) fn speaks_for(who: impl FnOnce() -> String) {
    // Outside of a logged request there is no caller to set.
    let _ = WHO.try_with(|known| known.get_or_init(who).len());
}

/// The part of the line that is known before the request is answered.
#[derive(Debug)]
pub(crate) struct Line {
    id: String,
    method: String,
    path: String,
    address: Address,
    started: Instant,
}

impl Line {
    /// `None` if no line would be written.
    pub(crate) fn of(request: &impl Request, site: &Site) -> Option<Self> {
        tracing::enabled!(Level::DEBUG).then(|| Self {
            id: id(),
            method: request.method().to_owned(),
            // Only the path: a query can contain secrets.
            path: request.path().to_owned(),
            address: site.address(request),
            started: Instant::now(),
        })
    }

    pub(crate) fn write(&self, status: u16, who: Option<&str>) {
        tracing::debug!(
            request_id = %self.id,
            address = %self.address,
            user = who.map(|who| field::display(Printable(who))),
            method = %self.method,
            path = %Printable(&self.path),
            status,
            micros = self.started.elapsed().as_micros() as u64,
            "request"
        );
    }
}

/// The answer, and the caller if it became known.
pub(crate) async fn follow<F: Future>(line: Option<&Line>, answer: F) -> (F::Output, Option<String>) {
    let Some(line) = line else { return (answer.await, None) };
    let span = tracing::debug_span!("request", id = %line.id);
    let named = async { (answer.await, WHO.with(|who| who.get().cloned())) };
    WHO.scope(OnceCell::new(), named).instrument(span).await
}

/// 16 hexadecimal digits. Without randomness all requests have the same id and are still answered.
fn id() -> String {
    let mut bytes = [0; 8];
    let _ = random(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// Text from a client in a line of the log. Characters that are not printable are escaped, so that they can't end the line or
/// control a terminal. There are no quotes around the text, because JSON adds its own.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\'' | '\\' => f.write_char(c),
            c => c.escape_debug().try_for_each(|c| f.write_char(c)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_without_quotes_and_unprintable_characters_are_escaped() {
        for (path, printed) in [
            ("/auth/login", "/auth/login"),
            ("/a\"b'c\\d", "/a\"b'c\\d"),
            ("/\u{9b}31m\n\u{202e}", "/\\u{9b}31m\\n\\u{202e}"),
            ("/ä", "/ä"),
        ] {
            assert_eq!(Printable(path).to_string(), printed);
        }
    }

    #[tokio::test]
    async fn the_first_caller_counts_and_is_evaluated_only_if_a_line_is_written() {
        speaks_for(|| panic!("there is no request"));
        let asks = async { speaks_for(|| panic!("no line is written")) };
        assert_eq!(follow(None, asks).await, ((), None));
        let line = Line {
            id: id(),
            method: "GET".into(),
            path: "/".into(),
            address: Address::Unknown,
            started: Instant::now(),
        };
        let names = async {
            speaks_for(|| "1".into());
            speaks_for(|| "2".into());
        };
        assert_eq!(follow(Some(&line), names).await.1.as_deref(), Some("1"));
        assert_eq!(follow(Some(&line), async {}).await.1, None);
    }
}
