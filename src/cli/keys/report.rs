//! Prints a key ring for `bulla keys`.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    cli::{CliError, Context, rfc3339, table},
    clock::{SKEW, Timestamp},
    config::format_duration,
    ids::shell,
    keyring::{KeyDirectory, Ring},
    store::NodeRow,
};

/// Prints the keys with their states, and the generation in force on each server.
pub(super) fn list(ctx: &Context, ring: &Ring, nodes: &[NodeRow], now: Timestamp) -> Result<(), CliError> {
    if ctx.json {
        let mut report = as_json(ring, now);
        report["nodes"] = nodes.iter().map(node_as_json).collect();
        return ctx.print(&report.to_string());
    }
    let mut text = as_text(ring, now);
    if !nodes.is_empty() {
        let mut lines = vec![["SERVER", "GENERATION", "VERSION"].map(String::from).to_vec()];
        lines.extend(nodes.iter().map(|node| {
            let behind = if node.ring_generation < ring.generation { " (behind)" } else { "" };
            vec![node.name.clone(), format!("{}{behind}", node.ring_generation), node.version.clone()]
        }));
        let _ = write!(text, "\n\n{}", table(&lines));
    }
    ctx.print(&text)
}

fn node_as_json(node: &NodeRow) -> Value {
    json!({ "name": node.name, "ring_generation": node.ring_generation, "version": node.version,
            "seen_at": node.seen_at.to_string() })
}

/// Prints the ring after a change.
pub(super) fn changed(ctx: &Context, ring: &Ring, now: Timestamp) -> Result<(), CliError> {
    if ctx.json { ctx.print(&as_json(ring, now).to_string()) } else { ctx.print(&as_text(ring, now)) }?;
    ctx.say("servers that read this directory load the change within 5 s; distribute the directory to all other servers");
    Ok(())
}

/// Checks whether a server would load the ring, and whether it can be rotated. A staged key that is too young is not a fault,
/// because every rotation leaves one.
pub(super) fn check(
    ctx: &Context,
    keys: &KeyDirectory,
    mark: Option<(u64, [u8; 32])>,
    min_staged: Duration,
    now: Timestamp,
) -> Result<(), CliError> {
    let ring = keys.load()?;
    ring.check_mark(mark)?;
    let unlisted: Vec<_> = keys.unlisted(&ring).iter().map(|file| keys.path().join(file)).collect();
    let faults = faults(&ring, &unlisted, now);
    let age = ring.staged().map(|key| now.since(key.since));
    let ready = age.is_some_and(|age| age >= min_staged);
    if ctx.json {
        let mut report = as_json(&ring, now);
        report["can_rotate"] = json!(ready);
        report["faults"] = json!(faults);
        report["directory"] = json!(ctx.settings.keys.display().to_string());
        ctx.print(&report.to_string())?;
    } else {
        let mut text = as_text(&ring, now);
        text.push('\n');
        match age {
            None => {}
            Some(_) if ready => text.push_str("ready to roll over"),
            Some(age) => {
                let _ = write!(
                    text,
                    "not ready to roll over: the staged key has waited {} of {}",
                    format_duration(age),
                    format_duration(min_staged)
                );
            }
        }
        for fault in &faults {
            let _ = write!(text, "\nfault: {fault}");
        }
        ctx.print(text.trim_end())?;
    }
    match faults.as_slice() {
        [] => Ok(()),
        [fault] => Err(CliError::Faults(fault.clone())),
        [fault, ..] => Err(CliError::Faults(format!("{} faults, the first: {fault}", faults.len()))),
    }
}

fn faults(ring: &Ring, unlisted: &[PathBuf], now: Timestamp) -> Vec<String> {
    let mut faults = Vec::new();
    if ring.staged().is_none() {
        faults.push(
            "no key is staged; `bulla keys rotate --now` creates a new active key and a staged key".into(),
        );
    }
    if ring.not_before > now {
        let fault = format!(
            "not_before is {}, which is in the future, so all tokens are refused; `bulla keys not-before {now}` corrects it",
            ring.not_before
        );
        faults.push(fault);
    }
    // The clocks of the machines that change and check a ring may differ.
    let ahead = ring.keys.iter().find(|key| key.since > now.plus(SKEW));
    if let Some(key) = ahead {
        faults.push(format!(
            "key {} was changed at {}, which is in the future; correct this machine's clock",
            key.kid, key.since
        ));
    }
    for file in unlisted {
        faults.push(format!(
            "{} is not listed in ring.json, because a command was interrupted or the file is from a newer copy of \
             the directory; if it is not from a newer copy, `rm {}` removes it",
            file.display(),
            shell::quote_path(file)
        ));
    }
    faults
}

fn as_json(ring: &Ring, now: Timestamp) -> Value {
    let mut shown = rfc3339(ring.to_json(), &["not_before"]);
    for (key, shown) in ring.keys.iter().zip(shown["keys"].as_array_mut().into_iter().flatten()) {
        shown["age_seconds"] = now.since(key.since).as_secs().into();
    }
    shown
}

fn as_text(ring: &Ring, now: Timestamp) -> String {
    let mut text = format!("generation {}", ring.generation);
    if ring.not_before > Timestamp::EPOCH {
        let _ = write!(text, ", tokens sealed before {} are refused", ring.not_before);
    }
    text.push_str("\n\nKID       STATE    SUITE               SINCE                 AGE");
    for key in &ring.keys {
        let _ = write!(
            text,
            "\n{}  {:<7}  {:<18}  {}  {}",
            key.kid,
            key.state,
            key.suite,
            key.since,
            format_duration(now.since(key.since))
        );
    }
    text
}
