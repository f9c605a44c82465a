//! Logs once that a request has a wrong `Host`, with the expected one, so that an operator can correct the setup.

use std::sync::Once;

use crate::http::{
    Site,
    wire::request::{Header, Request},
};

/// The length at which a `Host` is cut in the log, in characters.
const SHOWN: usize = 100;

/// Logs the first such refusal of this process. Later ones are not logged, because any client can cause them.
pub(crate) fn log_once(request: &impl Request, site: &Site) {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let host = String::from_utf8_lossy(request.value(Header::Host).unwrap_or_default());
        let host: String = host.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        tracing::warn!(
            "a request was refused with 421: it names the Host {host}, but the address of this server is {}; the \
             proxy in front must forward Host (nginx: proxy_set_header Host $host;), or public_url must be \
             corrected. This message is logged only once",
            site.origin()
        );
    });
}
