//! Judges the libpq parameters of a `postgres://` URL: some are passed on, some have no effect here, and some are refused because
//! this program does not support them.

use percent_encoding::{AsciiSet, CONTROLS};

use crate::store::BadDatabase;

/// The characters that are escaped in a path inside a query.
pub(super) const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'#').add(b'?').add(b'+').add(b'@').add(b'=');

/// Splits a URL into the part before the query, and the query. Like the library, it takes everything up to the first `@` as user
/// and password, which may contain a query mark.
pub(super) fn split(url: &str) -> (&str, &str) {
    let place = url.find('@').map_or(0, |at| at + 1);
    match url[place..].find('?') {
        Some(at) => (&url[..place + at], &url[place + at + 1..]),
        None => (url, ""),
    }
}

/// Returns the library's name of a parameter, or `None` if the parameter has no effect here. Refuses parameters that are not
/// supported.
pub(super) fn judge(name: &str, value: &str) -> Result<Option<&'static str>, BadDatabase> {
    const HANDED_ON: [&str; 17] = [
        "user",
        "password",
        "dbname",
        "host",
        "hostaddr",
        "port",
        "options",
        "application_name",
        "connect_timeout",
        "tcp_user_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_retries",
        "channel_binding",
        "load_balance_hosts",
        "sslnegotiation",
    ];
    if let Some(known) = HANDED_ON.iter().find(|known| **known == name) {
        return Ok(Some(known));
    }
    let only = |values: &[&str], why: &str| match values.iter().any(|may| may.eq_ignore_ascii_case(value)) {
        true => Ok(None),
        false => Err(BadDatabase(format!("the parameter {name} may only be {}: {why}", values.join(" or ")))),
    };
    let refused = |why: &str| Err(BadDatabase(format!("the parameter {name} is not supported: {why}")));
    match name {
        "keepalives_count" => Ok(Some("keepalives_retries")),
        // These parameters belong to features that are not supported here (Kerberos), or libpq itself ignores them.
        "fallback_application_name"
        | "tty"
        | "krbsrvname"
        | "gsslib"
        | "gssdelegation"
        | "sslcompression" => Ok(None),
        "client_encoding" => only(&["UTF8", "UTF-8", "auto"], "all text is UTF-8"),
        "target_session_attrs" => {
            only(&["any", "read-write", "primary"], "the server that accepts writes is used")
        }
        "gssencmode" => only(&["disable", "prefer"], "connections are protected by TLS, not by Kerberos"),
        "sslcertmode" => only(&["disable", "allow"], "no client certificate is sent"),
        "sslsni" => only(&["1"], "the name of the server is always sent"),
        "ssl_min_protocol_version" => only(&["TLSv1", "TLSv1.1", "TLSv1.2"], "TLS 1.2 and 1.3 are supported"),
        "ssl_max_protocol_version" => only(&["TLSv1.3"], "TLS 1.2 and 1.3 are supported"),
        "sslcert" | "sslkey" | "sslpassword" => {
            refused("client certificates are not supported; authenticate with a password")
        }
        "sslcrl" | "sslcrldir" => refused("revocation lists are not read"),
        "require_auth" | "requirepeer" => {
            refused("the authentication method is not checked; use sslmode=verify-full")
        }
        "passfile" => refused("set PGPASSFILE to the file"),
        "service" | "servicefile" => refused("write host, user and name into the URL"),
        "replication" => refused("it is only for replicas"),
        // Only a text that looks like a name is printed. Any other text may be part of a password.
        name if name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
            Err(BadDatabase(format!(
                "the parameter {name} is unknown; `man libpq` and docs/settings.md list the known parameters"
            )))
        }
        _ => Err(BadDatabase("a parameter is unknown; docs/settings.md lists the known parameters".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PostgresUrl;

    #[test]
    fn parameters_of_libpq_that_change_nothing_are_accepted() {
        for query in [
            "application_name=x&connect_timeout=5&target_session_attrs=read-write",
            "target_session_attrs=any&fallback_application_name=x&client_encoding=utf8",
            "keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3",
            "gssencmode=prefer&channel_binding=prefer&sslcompression=0&sslsni=1&krbsrvname=postgres",
            "sslmode=require&ssl_min_protocol_version=TLSv1.2&sslcertmode=allow&options=-c%20geqo%3Doff",
        ] {
            let url = PostgresUrl::new(format!("postgres://ada:hun?ter@h/d?{query}"));
            assert!(url.parse().is_ok(), "{query}: {:?}", url.parse().err());
        }
    }

    #[test]
    fn unsupported_parameters_are_refused_by_name() {
        for (parameter, says) in [
            ("ssl=true", "ssl is unknown"),
            ("pool_mode=hunter2", "pool_mode is unknown"),
            ("sslcert=hunter2", "sslcert is not supported"),
            ("sslcrl=x", "sslcrl is not supported"),
            ("require_auth=scram-sha-256", "require_auth is not supported"),
            ("client_encoding=LATIN1", "client_encoding may only be"),
            ("target_session_attrs=standby", "target_session_attrs may only be"),
            ("gssencmode=require", "gssencmode may only be"),
            ("ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version may only be"),
            ("passfile=/x", "PGPASSFILE"),
            ("hunter2%20x=1", "a parameter is unknown"),
        ] {
            let error = PostgresUrl::new(format!("postgres://ada@h/d?{parameter}")).parse().err().unwrap().0;
            assert!(error.contains(says) && !error.contains("hunter2"), "{parameter}: {error}");
        }
    }
}
