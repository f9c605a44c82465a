//! `bulla init`: a ring, a database, a bulla.toml.

use std::{io::Write as _, sync::Arc};

use clap::Args;

use super::{CliError, Context, keys::suite_note, open_store};
use crate::{
    config,
    keyring::{KeyDirectory, Suite},
    store::Store as _,
};

/// What to make.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The AEAD of the keys: xaes-256-gcm, aes-256-gcm or xchacha20-poly1305.
    #[arg(long, default_value = "xaes-256-gcm", value_parser = suite)]
    suite: Suite,
}

fn suite(text: &str) -> Result<Suite, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "must be xaes-256-gcm, aes-256-gcm or xchacha20-poly1305".into())
}

/// Makes what is missing; what is there stays as it is.
pub(super) async fn run(args: &InitArgs, ctx: &Context) -> Result<(), CliError> {
    let settings = &ctx.settings;
    let keys = KeyDirectory::new(&settings.keys);
    let store = open_store(settings, Arc::clone(&ctx.clock))?;
    if keys.exists() {
        ctx.say(&format!("{}: a key ring is there already", settings.keys.display()));
    } else {
        let mark = store.ring_mark().await?;
        if mark.is_some() {
            return Err(CliError::Failed(format!(
                "{}: this database has known another key ring, which isn't at {}; restore it, or start with a new database",
                settings.database.display(),
                settings.keys.display()
            )));
        }
        let ring = keys.init(args.suite, ctx.clock.now())?;
        store.note_ring(ring.generation, ring.fingerprint).await?;
        ctx.say(&format!("{}: made, one key active and one staged", settings.keys.display()));
        suite_note(args.suite).into_iter().for_each(|note| ctx.say(note));
    }
    ctx.say(&format!("{}: ready", settings.database.display()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open("bulla.toml");
    match file {
        Ok(mut file) => {
            let written = file.write_all(config::sample().as_bytes());
            written.map_err(|error| CliError::Failed(format!("bulla.toml: {error}")))?;
            ctx.say("bulla.toml: made, every setting at its default");
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            ctx.say("bulla.toml: there already")
        }
        Err(error) => return Err(CliError::Failed(format!("bulla.toml: {error}"))),
    }
    ctx.say("next: bulla user add NAME --role admin, then bulla serve");
    Ok(())
}
