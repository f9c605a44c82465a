//! Adds details to audit events: the names of the rows, and the fields that a change has changed. An event names a changed claim
//! without its value, and only records that a secret or a key has changed.

use serde_json::{Map, Value, json};

use crate::{
    secret::Digest,
    store::{AuditEvent, ClientRow, FormerSecret, NewUser, UserRow},
};

/// The event for adding a user.
pub(in crate::store) fn user_added(event: &AuditEvent, user: &NewUser) -> AuditEvent {
    let event = event.saying("name", user.name.as_str().into()).saying("roles", json!(user.roles));
    if user.disabled { event.saying("disabled", true.into()) } else { event }
}

/// The event for changing a user. `changed` has an entry for each field that differs.
pub(in crate::store) fn user_changed(event: &AuditEvent, before: &UserRow, after: &UserRow) -> AuditEvent {
    let mut changed = Map::new();
    differs(&mut changed, "name", before.name.as_str().into(), after.name.as_str().into());
    differs(&mut changed, "roles", json!(before.roles), json!(after.roles));
    differs(&mut changed, "disabled", before.disabled.into(), after.disabled.into());
    let claims = claims(&before.claims, &after.claims);
    if !claims.is_empty() {
        changed.insert("claims".into(), claims.into());
    }
    event.saying("changed", changed.into())
}

/// The event for deleting a user. If the row can't be read, the event has no name.
pub(in crate::store) fn user_deleted(event: &AuditEvent, before: &UserRow) -> AuditEvent {
    match before.is_unreadable() {
        true => event.clone(),
        false => event.saying("name", before.name.as_str().into()),
    }
}

/// The event for adding or deleting a client.
pub(in crate::store) fn client_named(event: &AuditEvent, name: &str) -> AuditEvent {
    event.saying("name", name.into())
}

/// The event for changing a client.
pub(in crate::store) fn client_changed(
    event: &AuditEvent,
    before: &ClientRow,
    after: &ClientRow,
) -> AuditEvent {
    let mut changed = Map::new();
    differs(&mut changed, "scopes", before.scopes.to_string().into(), after.scopes.to_string().into());
    let audiences = |row: &ClientRow| row.audiences.iter().map(ToString::to_string).collect::<Vec<_>>();
    differs(&mut changed, "audiences", json!(audiences(before)), json!(audiences(after)));
    differs(&mut changed, "redirect_uris", json!(before.redirect_uris), json!(after.redirect_uris));
    differs(&mut changed, "disabled", before.disabled.into(), after.disabled.into());
    for (field, is_another) in
        [("secret", secrets(before) != secrets(after)), ("jwks", before.jwks != after.jwks)]
    {
        if is_another {
            changed.insert(field.into(), "replaced".into());
        }
    }
    event.saying("changed", changed.into())
}

/// The present and the former secret.
fn secrets(row: &ClientRow) -> (Option<Digest>, Option<FormerSecret>) {
    (row.secret_hash, row.former)
}

fn differs(changed: &mut Map<String, Value>, field: &str, from: Value, to: Value) {
    if from != to {
        changed.insert(field.into(), json!({"from": from, "to": to}));
    }
}

/// Returns the names of the claims that were added, removed and changed.
fn claims(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let names = |all: &Map<String, Value>, is_listed: &dyn Fn(&str, &Value) -> bool| {
        let listed = all.iter().filter(|(name, value)| is_listed(name, value));
        listed.map(|(name, _)| Value::from(name.as_str())).collect::<Vec<_>>()
    };
    let lists = [
        ("added", names(after, &|name, _| !before.contains_key(name))),
        ("removed", names(before, &|name, _| !after.contains_key(name))),
        ("changed", names(after, &|name, value| before.get(name).is_some_and(|was| was != value))),
    ];
    lists
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(list, names)| (list.to_owned(), names.into()))
        .collect()
}

impl AuditEvent {
    /// Returns the event with one more field in its evidence. A `detail` that is no JSON object comes from the caller and is not
    /// changed.
    fn saying(&self, key: &str, value: Value) -> Self {
        let mut event = self.clone();
        if let Some(detail) = event.detail.as_object_mut() {
            detail.insert(key.into(), value);
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        ids::UserId,
        store::{Actor, Event},
    };

    fn user(roles: &[&str], claims: Value) -> UserRow {
        UserRow {
            id: UserId::new("7").unwrap(),
            name: "ada".into(),
            password_hash: Some("$argon2id$secret".into()),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            claims: claims.as_object().cloned().unwrap(),
            disabled: false,
            created_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn the_event_of_a_changed_user_names_the_fields_and_only_the_names_of_claims() {
        let before = user(&["a", "b"], json!({"team": "x", "plan": "y", "seat": 1}));
        let mut after = user(&["b"], json!({"team": "z", "plan": "y", "mail": "ada@example.org"}));
        after.disabled = true;
        let event = AuditEvent::new(Event::UserChanged, Actor::System, "").with(json!({"why": "asked"}));
        let told = user_changed(&event, &before, &after).detail;
        let expected = json!({"why": "asked", "changed": {
            "roles": {"from": ["a", "b"], "to": ["b"]},
            "disabled": {"from": false, "to": true},
            "claims": {"added": ["mail"], "removed": ["seat"], "changed": ["team"]},
        }});
        assert_eq!(told, expected);
        assert_eq!(user_changed(&event, &before, &before).detail["changed"], json!({}));
    }

    #[test]
    fn the_event_of_a_deleted_user_has_the_name_unless_the_row_is_unreadable() {
        let event = AuditEvent::new(Event::UserDeleted, Actor::System, "");
        assert_eq!(user_deleted(&event, &user(&[], json!({}))).detail, json!({"name": "ada"}));
        let unreadable = UserRow::unreadable(&UserId::new("7").unwrap());
        assert_eq!(user_deleted(&event, &unreadable).detail, json!({}));
    }

    #[test]
    fn a_detail_that_is_no_object_is_not_changed() {
        let event = AuditEvent::new(Event::UserDeleted, Actor::System, "").with(json!(["mine"]));
        assert_eq!(user_deleted(&event, &user(&[], json!({}))).detail, json!(["mine"]));
    }
}
