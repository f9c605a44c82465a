//! Reads new passwords: from a prompt or from standard input, never from an argument.

use std::io::Read as _;

use crate::{
    cli::{CliError, Context},
    identity::{Hasher, PasswordRule},
    secret::SecretText,
};

/// Asks for a new password (twice if at a terminal), checks it and hashes it.
pub(super) async fn new_password(ctx: &Context, from_stdin: bool) -> Result<String, CliError> {
    let password = if from_stdin { stdin_line()? } else { prompt()? };
    let rule = PasswordRule { min: ctx.settings.password_min };
    rule.check(&password).map_err(CliError::Failed)?;
    Hasher::new(1, 1).hash(&password).await.map_err(|error| CliError::Failed(error.to_string()))
}

fn stdin_line() -> Result<SecretText, CliError> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(8192).read_to_string(&mut text);
    read.map_err(|error| CliError::Failed(format!("standard input can't be read: {error}")))?;
    let line = text.split('\n').next().unwrap_or_default();
    Ok(SecretText::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn prompt() -> Result<SecretText, CliError> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt).map_err(|error| {
            CliError::Failed(format!(
                "there is no terminal to ask for the password ({error}); use --password-stdin"
            ))
        })
    };
    let (first, second) = (ask("Password: ")?, ask("Repeat the password: ")?);
    if first != second {
        return Err(CliError::Failed("the two passwords differ; nothing was changed".into()));
    }
    Ok(SecretText::new(first))
}
