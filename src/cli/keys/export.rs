//! `bulla keys export`: exports derived keys for integrators, and refuses keys that must never leave the server.

use crate::store::Event;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use serde_json::json;

use super::{Database, ExportArgs, Format};
use crate::{
    cli::{CliError, Context, actor},
    ids::{Audience, Purpose},
    keyring::KeyDirectory,
    session::{Policy, SERVICE_MAX_AGE},
    token::KeyExport,
};

pub(super) async fn export(
    ctx: &Context,
    keys: &KeyDirectory,
    database: &Database,
    args: &ExportArgs,
) -> Result<(), CliError> {
    let audience = args.audience.clone().unwrap_or_else(Audience::own);
    let max_age = permitted(args, &audience, &ctx.settings.policy).map_err(CliError::Usage)?;
    let ring = keys.load()?;
    ring.check_mark(database.mark(ctx).await)?;
    let export = KeyExport::new(&ring, &args.purpose, &audience, max_age);
    let text = match args.format {
        Format::Json => export.to_json(),
        Format::Env => export.to_env(),
        Format::Jwk => export.to_jwks(),
    };
    if args.own {
        ctx.say(
            "warning: these keys open and forge the access tokens of this server's own cookies: their holder can act \
             as any user on every route that accepts an access token. Protect them like the keys directory.",
        );
    }
    match &args.out {
        None => ctx.print(text.expose())?,
        Some(path) => write(path, text.expose().as_bytes())
            .map_err(|e| CliError::Failed(format!("{}: can't be written: {e}", path.display())))?,
    }
    let detail = json!({ "purpose": args.purpose.as_str(), "audience": audience.as_str(), "generation": ring.generation });
    database.record(ctx, actor::event(Event::KeyExported, "").with(detail)).await;
    Ok(())
}

/// Checks that these keys may be exported. Returns the largest age of their tokens.
fn permitted(args: &ExportArgs, audience: &Audience, policy: &Policy) -> Result<Duration, String> {
    let own = audience.as_str().is_empty();
    let access = args.purpose == Purpose::access();
    if args.own && !access {
        return Err("--own is valid only with --purpose access".into());
    }
    let known = match args.purpose.as_str() {
        "refresh" | "login" | "code" => {
            return Err(format!(
                "keys of purpose `{}` are used only by the server and are never exported",
                args.purpose
            ));
        }
        "service" if own => {
            return Err(
                "the server's own keys of purpose `service` are never exported; give --audience NAME".into(),
            );
        }
        "access" if own && !args.own => {
            return Err("--audience is missing: without it these are the keys of the server's own cookies, and their \
                holder can act as any user; give --audience NAME, or --own to export the keys of the cookies"
                .into());
        }
        "access" => Some(policy.access_max_age),
        "service" => Some(SERVICE_MAX_AGE),
        _ => None,
    };
    match (known, args.max_age) {
        (Some(max_age), None) | (None, Some(max_age)) if !max_age.is_zero() => Ok(max_age),
        (None, _) => Err(format!(
            "the maximum age of tokens of purpose `{}` is not among the settings; give --max-age, more than 0s",
            args.purpose
        )),
        (Some(_), _) => {
            Err("--max-age is valid only with a purpose of your own; for this purpose the maximum age is \
            fixed by the settings"
                .into())
        }
    }
}

/// Writes the file completely or not at all, readable only by its owner.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut next = name.to_owned();
    next.push(".next");
    let next = path.with_file_name(next);
    match fs::remove_file(&next) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&next, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(purpose: &str, audience: &str, own: bool, max_age: Option<u64>) -> Result<u64, String> {
        let args = ExportArgs {
            purpose: purpose.parse().unwrap(),
            audience: None,
            own,
            max_age: max_age.map(Duration::from_secs),
            format: Format::Json,
            out: None,
        };
        permitted(&args, &audience.parse().unwrap(), &Policy::default()).map(|age| age.as_secs())
    }

    #[test]
    fn the_servers_own_secrets_are_never_exported() {
        for audience in ["", "billing"] {
            for own in [false, true] {
                for purpose in ["refresh", "login", "code"] {
                    assert!(ask(purpose, audience, own, None).is_err(), "{purpose} {audience}");
                    assert!(ask(purpose, audience, own, Some(60)).is_err(), "{purpose} {audience}");
                }
                assert!(ask("service", "", own, None).is_err());
            }
        }
        assert!(ask("access", "", false, None).is_err());
    }

    #[test]
    fn an_export_has_the_maximum_age_of_its_kind_of_token() {
        assert_eq!(ask("access", "billing", false, None), Ok(120));
        assert_eq!(ask("access", "", true, None), Ok(120));
        assert_eq!(ask("service", "billing", false, None), Ok(3600));
        assert_eq!(ask("invite", "", false, Some(86_400)), Ok(86_400));
        assert!(ask("invite", "", false, None).is_err());
        assert!(ask("access", "billing", false, Some(86_400)).is_err());
    }
}
