//! `bulla token`: seals, opens and inspects tokens with the key ring.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::{CliError, Context};
use crate::{
    config::parse_duration,
    ids::{Audience, Purpose},
    keyring::{KeyDirectory, Ring},
    token::{Inspection, OpenBuffer, Refused, SealCounts, SealError, TokenKeys, inspect},
};

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Seal a JSON object and print the token
    #[command(
        after_help = "Examples:\n  bulla token seal '{\"id\":\"42\"}'\n  echo '{\"id\":\"42\"}' | bulla token seal - --audience billing"
    )]
    Seal {
        /// The payload, or `-` to read it from standard input.
        #[arg(value_name = "JSON", allow_hyphen_values = true)]
        payload: OsString,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Open a token and print the payload
    #[command(
        after_help = "Examples:\n  bulla token open bulX0-Pa0w…\n  bulla token seal '{\"id\":\"42\"}' | bulla token open -"
    )]
    Open {
        /// The token, or `-` to read it from standard input.
        #[arg(allow_hyphen_values = true)]
        token: OsString,
        #[command(flatten)]
        key: KeyArguments,
        /// The maximum age of the token [default: the setting access_max_age]
        #[arg(long, value_parser = parse_duration)]
        max_age: Option<Duration>,
    },
    /// Show the suite, key and age of a token, and whether it can be opened
    Inspect {
        /// The token, or `-` to read it from standard input.
        #[arg(allow_hyphen_values = true)]
        token: OsString,
        #[command(flatten)]
        key: KeyArguments,
    },
}

/// The arguments that choose the derived key of a token: its purpose and its audience.
#[derive(Args, Debug)]
pub(super) struct KeyArguments {
    /// The purpose: access, refresh, service, login, or a name of your own.
    #[arg(long, default_value = "access")]
    purpose: Purpose,
    /// The audience, which may open the token; without it, the server itself.
    #[arg(long)]
    audience: Option<Audience>,
}

impl KeyArguments {
    fn derive(&self, ring: &Ring) -> TokenKeys {
        let audience = self.audience.clone().unwrap_or_else(Audience::own);
        TokenKeys::derive_counted(ring, &self.purpose, &audience, &SealCounts::default())
    }
}

/// Runs a token command.
pub(super) async fn run(command: TokenCommand, ctx: &Context) -> Result<(), CliError> {
    let ring =
        KeyDirectory::new(&ctx.settings.keys).allow_group_read(ctx.settings.allow_group_read).load()?;
    let now = ctx.clock.now();
    let refused = |error: &dyn std::fmt::Display| CliError::TokenRefused(error.to_string());
    match command {
        TokenCommand::Seal { payload, key } => {
            let payload =
                argument(&payload)?.ok_or_else(|| CliError::Usage(SealError::Payload.to_string()))?;
            let token = key.derive(&ring).seal_at(&payload, now);
            let token = token.map_err(|error| match error {
                SealError::Payload | SealError::TooLong => CliError::Usage(error.to_string()),
                other => CliError::Failed(other.to_string()),
            })?;
            match ctx.json {
                true => ctx.print(&json!({"token": token.as_str()}).to_string()),
                false => ctx.print(token.as_str()),
            }
        }
        TokenCommand::Open { token, key, max_age } => {
            let text = argument(&token)?.ok_or_else(|| refused(&Refused::Encoding))?;
            let max_age = max_age.unwrap_or(ctx.settings.policy.access_max_age);
            let mut buffer = OpenBuffer::new();
            let keys = key.derive(&ring);
            let opened = keys.open_at(&text, now, max_age, &mut buffer);
            ctx.print(opened.map_err(|error| refused(&error))?.payload)
        }
        TokenCommand::Inspect { token, key } => {
            let text = argument(&token)?.ok_or_else(|| refused(&Refused::Encoding))?;
            let Inspection { suite, kid } = inspect(&text).map_err(|error| refused(&error))?;
            let state = ring.keys.iter().find(|key| key.kid == kid).map(|key| key.state);
            let keys = key.derive(&ring);
            let mut buffer = OpenBuffer::new();
            // Accepts any age. The application that opens a token decides whether it is too old; here its age is shown.
            let opened = keys.open_at(&text, now, Duration::MAX, &mut buffer);
            let (issued_at, outcome) = match &opened {
                Ok(opened) => (Some(opened.issued_at), "opens"),
                Err(refused) => (None, refused.reason()),
            };
            if ctx.json {
                let shown = json!({"suite": suite, "kid": kid.to_string(), "state": state, "characters": text.len(),
                                   "outcome": outcome, "issued_at": issued_at.map(|at| at.to_string())});
                return ctx.print(&shown.to_string());
            }
            let state = state.map_or("not in the ring".into(), |state| state.to_string());
            let issued = issued_at.map_or("unknown".into(), |at| format!("{at} ({})", super::ago(at, now)));
            ctx.print(&super::table(&[
                vec!["suite".into(), suite.to_string()],
                vec!["key".into(), format!("{kid}, {state}")],
                vec!["length".into(), format!("{} characters", text.len())],
                vec!["outcome".into(), outcome.into()],
                vec!["sealed".into(), issued],
            ]))
        }
    }
}

/// Returns an argument, or standard input for `-`, without the line end that a pipe adds. `None` if it is not UTF-8, because it
/// is then neither a token nor JSON.
fn argument(given: &OsStr) -> Result<Option<Zeroizing<String>>, CliError> {
    if given != "-" {
        return Ok(given.to_str().map(|text| Zeroizing::new(text.to_owned())));
    }
    let mut read = Zeroizing::new(Vec::new());
    // The limit is above the size of any token or payload. Longer input is cut off here and later refused for its length.
    let input = std::io::stdin().lock().take(1 << 16).read_to_end(&mut read);
    input.map_err(|error| CliError::Failed(format!("standard input can't be read: {error}")))?;
    let text =
        read.strip_suffix(b"\n").map_or(read.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(std::str::from_utf8(text).ok().map(|text| Zeroizing::new(text.to_owned())))
}
