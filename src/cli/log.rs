//! The server's log on standard error, as text or as JSON. In JSON every line is an object. This includes panics, and errors at
//! the start before the settings are known or because they are wrong.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{SETTINGS_FILE, suggest::Suggest};
use crate::config::Settings;

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    pub(super) fn of(settings: &Settings) -> Self {
        if settings.log_json { Self::Json } else { Self::Text }
    }

    pub(super) fn is_json(self) -> bool {
        self == Self::Json
    }
}

/// Changes the level of the log while the program runs.
pub(super) type SetLevel = Box<dyn Fn(&str) -> Result<(), String>>;

/// Starts logging to standard error at this level. Libraries log only `warn` and above, because their lower levels may log values
/// of request headers.
///
/// Returns the function that changes the level later.
pub(super) fn start(format: Format, level: &str, suggest: &Suggest) -> SetLevel {
    let suggest = Arc::new(if format.is_json() { suggest.in_json() } else { suggest.clone() });
    let writer = move || Lines(Arc::clone(&suggest));
    let logs = tracing_subscriber::fmt().with_env_filter(filter(level)).with_writer(writer).with_ansi(false);
    // Errors in writing the log are not reported: if standard error is closed, the report itself would panic.
    let logs = logs.log_internal_errors(false);
    // A program that embeds the command line may have set up a logger already.
    let set_level: SetLevel = if format.is_json() {
        let logs = logs.json().with_filter_reloading();
        let handle = logs.reload_handle();
        let _ = logs.try_init();
        Box::new(move |level| handle.reload(filter(level)).map_err(|error| error.to_string()))
    } else {
        let logs = logs.with_filter_reloading();
        let handle = logs.reload_handle();
        let _ = logs.try_init();
        Box::new(move |level| handle.reload(filter(level)).map_err(|error| error.to_string()))
    };
    // Logs the place of a panic without its message, because the message may contain data from a request.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: this is a bug in bulla, please report it");
    }));
    set_level
}

fn filter(level: &str) -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::new(format!("warn,bulla={level}"))
}

/// Writes log lines to standard error, and adds this server's flags to the commands that the lines suggest.
struct Lines(Arc<Suggest>);

impl io::Write for Lines {
    /// Receives a complete line, because the logger writes each line in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => io::stderr().write_all(self.0.complete(text).as_bytes())?,
            Err(_) => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Logs as JSON why the server does not start or has ended.
pub(super) fn fail(why: &str) {
    let _ = start(Format::Json, "info", &Suggest::default());
    tracing::error!("{why}");
}

/// Returns the log format in a server's settings, even if other settings are wrong. The environment overrides the file.
pub(super) fn of_server(file: &Path) -> Format {
    let asked = match std::env::var_os("BULLA_LOG") {
        Some(asked) => asked.to_str().map(|asked| asked.trim().to_owned()),
        None => fs::read_to_string(file).ok().and_then(|text| in_file(&text)),
    };
    if asked.as_deref() == Some("json") { Format::Json } else { Format::Text }
}

/// Returns the log format for arguments that can't be parsed. It is text unless the arguments are for `serve`.
pub(super) fn of_arguments(arguments: &[String]) -> Format {
    if !arguments.iter().any(|word| word == "serve") {
        return Format::Text;
    }
    let named = arguments.iter().enumerate().find_map(|(n, word)| match word.strip_prefix("--config") {
        Some("") => arguments.get(n + 1).cloned(),
        Some(rest) => rest.strip_prefix('=').map(str::to_owned),
        None => None,
    });
    let file = named.map(PathBuf::from).or_else(|| std::env::var_os("BULLA_CONFIG").map(PathBuf::from));
    of_server(&file.unwrap_or_else(|| SETTINGS_FILE.into()))
}

/// Reads `log` from a settings file. If the file as a whole can't be parsed, the lines before its first table are parsed one by
/// one.
fn in_file(text: &str) -> Option<String> {
    let log = |table: toml::Table| table.get("log").and_then(|log| log.as_str()).map(str::to_owned);
    if let Ok(table) = text.parse() {
        return log(table);
    }
    let lines = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    lines.filter_map(|line| line.parse().ok()).find_map(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_format_is_read_from_a_file_with_other_invalid_lines() {
        for (text, log) in [
            ("log = 'json'", Some("json")),
            ("listen = \nlog = \"json\" # for the collector\n", Some("json")),
            ("log = \"text\"\nlisten = ", Some("text")),
            ("listen = \n[provider.log]\nlog = 'json'", None),
            ("[provider.log]\nlog = 'json'", None),
            ("log = json", None),
            ("log = 1", None),
            ("", None),
        ] {
            assert_eq!(in_file(text).as_deref(), log, "{text}");
        }
    }
}
