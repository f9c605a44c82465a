//! Changes and deletes users. What ends sessions prints their number first.

use serde_json::{Map, Value, json};

use super::{checked_role, list::show};
use crate::{
    cli::{
        CliError, Context, actor,
        dry_run::{count, dry_run_report},
    },
    session::check_claims,
    store::{Event, NAME_RULE, Store, UserChange, UserRow, is_good_name},
};

/// Adds and removes roles. A role that is both added and removed is added.
pub(super) async fn roles(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    add: Vec<String>,
    remove: Vec<String>,
) -> Result<(), CliError> {
    if add.is_empty() && remove.is_empty() {
        return Err(CliError::Usage("nothing to change: give --add ROLE or --remove ROLE".into()));
    }
    let add_roles = add.into_iter().map(checked_role).collect::<Result<Vec<_>, _>>()?;
    let remove_roles: Vec<_> = remove.into_iter().filter(|role| !add_roles.contains(role)).collect();
    if let Some(role) = remove_roles.iter().find(|role| !user.roles.contains(role)) {
        return Err(CliError::NotFound(format!(
            "{} doesn't have the role {role:?}; nothing was changed. Roles of {}: {}",
            user.name,
            user.name,
            super::roles(user)
        )));
    }
    let change = UserChange { add_roles, remove_roles, ..UserChange::default() };
    change_user(store, ctx, user, change, Event::UserChanged).await
}

/// Shows the claims, replaces them, or removes them.
pub(super) async fn claims(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    set: Option<String>,
    clear: bool,
) -> Result<(), CliError> {
    let claims = match (set, clear) {
        (Some(text), _) => {
            let claims: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
                CliError::Usage(format!(
                    "the claims must be a JSON object, for example {{\"team\":\"blue\"}}: {error}"
                ))
            })?;
            check_claims(&user.roles, &claims).map_err(CliError::Usage)?;
            claims
        }
        (None, true) => Map::new(),
        (None, false) => return ctx.print(&Value::Object(user.claims.clone()).to_string()),
    };
    let change = UserChange { claims: Some(claims), ..UserChange::default() };
    let row = changed(store, user, change, Event::UserChanged).await?;
    ctx.say(&format!("{}: claims set; tokens carry them from the next renewal on", row.name));
    ctx.print(&Value::Object(row.claims).to_string())
}

/// Prints how many sessions a change of a user ends. With `dry_run`, prints what it would do instead, and returns true: nothing is to
/// be changed.
async fn announce(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    change: &str,
    dry_run: bool,
) -> Result<bool, CliError> {
    let sessions = store.count_sessions(Some(&user.id)).await?;
    match dry_run {
        true => dry_run_report(ctx, &format!("{} would be {change}, and ", user.name), sessions)?,
        false => ctx.say(&format!("{}: ending {}", user.name, count(sessions))),
    }
    Ok(dry_run)
}

/// Gives a user another name, which ends all sessions of the user.
pub(super) async fn rename(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    new: String,
    dry_run: bool,
) -> Result<(), CliError> {
    if !is_good_name(&new) {
        return Err(CliError::Usage(NAME_RULE.into()));
    }
    if new == user.name {
        return Err(CliError::Failed(format!(
            "the name of the user is {new:?} already; nothing was changed"
        )));
    }
    if announce(store, ctx, user, &format!("renamed to {new}"), dry_run).await? {
        return Ok(());
    }
    let change = UserChange { name: Some(new), ..UserChange::default() };
    let row = changed(store, user, change, Event::UserChanged).await?;
    if ctx.json {
        return show(ctx, &row);
    }
    ctx.say(&format!("{}: renamed to {}, all sessions ended", user.name, row.name));
    Ok(())
}

/// Disables a user, which ends all sessions of the user.
pub(super) async fn disable(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    dry_run: bool,
) -> Result<(), CliError> {
    if announce(store, ctx, user, "disabled", dry_run).await? {
        return Ok(());
    }
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    change_user(store, ctx, user, change, Event::UserDisabled).await
}

/// Enables a user.
pub(super) async fn enable(store: &dyn Store, ctx: &Context, user: &UserRow) -> Result<(), CliError> {
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    change_user(store, ctx, user, change, Event::UserEnabled).await
}

/// Deletes a user and all sessions of the user.
pub(super) async fn delete(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    dry_run: bool,
) -> Result<(), CliError> {
    if announce(store, ctx, user, "deleted", dry_run).await? {
        return Ok(());
    }
    store.delete_user(&user.id, actor::event(Event::UserDeleted, "")).await?;
    if ctx.json {
        let shown = json!({"deleted": {"id": user.id.as_str(), "name": user.name}});
        return ctx.print(&shown.to_string());
    }
    ctx.say(&format!("{}: deleted, all sessions ended", user.name));
    Ok(())
}

async fn change_user(
    store: &dyn Store,
    ctx: &Context,
    user: &UserRow,
    change: UserChange,
    event: Event,
) -> Result<(), CliError> {
    let row = changed(store, user, change, event).await?;
    if ctx.json {
        return show(ctx, &row);
    }
    let state = if row.disabled { "disabled, all sessions ended" } else { "enabled" };
    ctx.say(&format!("{}: {state}, roles {}", row.name, super::roles(&row)));
    Ok(())
}

/// Applies a change and returns the row after it.
async fn changed(
    store: &dyn Store,
    user: &UserRow,
    change: UserChange,
    event: Event,
) -> Result<UserRow, CliError> {
    let row = store.change_user(&user.id, change, actor::event(event, "")).await?;
    row.ok_or_else(|| CliError::NotFound(format!("the user {} was deleted in the meantime", user.name)))
}
