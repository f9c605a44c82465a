//! The row of a user, and its changes.

use crate::{
    clock::Timestamp,
    ids::UserId,
    store::{Identity, StoreError},
};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// `users.id` as text.
    pub id: UserId,
    /// The name to log in with, as it was given.
    pub name: String,
    /// The password hash, a PHC string (`$argon2id$…`). `None` if the user can't log in by password.
    pub password_hash: Option<String>,
    /// Roles, in order.
    pub roles: Vec<String>,
    /// The application's claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Whether logins are refused.
    pub disabled: bool,
    /// The time at which the user was added.
    pub created_at: Timestamp,
}

impl UserRow {
    /// A stand-in for a row that can't be read: the user exists, but may do nothing. Such a user must not count as absent,
    /// because a user without a row may belong to an embedding program, and then the roles are not checked.
    pub(in crate::store) fn unreadable(id: &UserId) -> Self {
        Self {
            id: id.clone(),
            name: String::new(),
            password_hash: None,
            roles: Vec::new(),
            claims: serde_json::Map::new(),
            disabled: true,
            created_at: Timestamp::from_millis(i64::MIN),
        }
    }

    /// Returns the JSON view for programs. It contains no hash; `password` tells whether the user has a password.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "id": self.id.as_str(), "name": self.name, "roles": self.roles, "claims": self.claims,
            "disabled": self.disabled, "created_at": self.created_at, "password": self.password_hash.is_some(),
        })
    }

    /// Whether the row in the store can't be read.
    pub fn is_unreadable(&self) -> bool {
        self.created_at == Timestamp::from_millis(i64::MIN)
    }
}

impl UserRow {
    /// The texts of `roles` and `claims` in the database.
    pub(in crate::store) fn as_json(&self) -> (String, String) {
        as_json(&self.roles, &self.claims)
    }
}

/// A user to add.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// The name to log in with ([`NAME_RULE`](crate::store::NAME_RULE)). The caller checks this.
    pub name: String,
    /// The password hash, a PHC string.
    pub password_hash: Option<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Claims.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Whether logins are refused.
    pub disabled: bool,
    /// An identity at a provider, linked in the same transaction.
    pub identity: Option<Identity>,
}

impl NewUser {
    /// The texts of `roles` and `claims` in the database.
    pub(in crate::store) fn as_json(&self) -> (String, String) {
        as_json(&self.roles, &self.claims)
    }
}

fn as_json(roles: &[String], claims: &serde_json::Map<String, serde_json::Value>) -> (String, String) {
    (serde_json::json!(roles).to_string(), serde_json::json!(claims).to_string())
}

/// A change of a user. `None` leaves a field unchanged. The store applies the change to the row that its transaction reads.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// The new name. It ends all sessions of the user (by trigger).
    pub name: Option<String>,
    /// The roles that replace all present roles.
    pub roles: Option<Vec<String>>,
    /// Roles to add to the present roles.
    pub add_roles: Vec<String>,
    /// Roles to remove from the present roles.
    pub remove_roles: Vec<String>,
    /// The claims that replace all present claims.
    pub claims: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether the user is disabled. Disabling ends all sessions of the user (by trigger).
    pub disabled: Option<bool>,
}

impl UserChange {
    /// Returns the roles after the change.
    pub(crate) fn roles_after(&self, before: &[String]) -> Vec<String> {
        let mut roles = self.roles.clone().unwrap_or_else(|| before.to_vec());
        roles.retain(|role| !self.remove_roles.contains(role));
        for role in &self.add_roles {
            if !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// Returns the row after the change.
    pub(in crate::store) fn apply(&self, before: &UserRow) -> UserRow {
        let mut after = before.clone();
        after.name = self.name.clone().unwrap_or(after.name);
        after.roles = self.roles_after(&before.roles);
        after.claims = self.claims.clone().unwrap_or(after.claims);
        after.disabled = self.disabled.unwrap_or(after.disabled);
        after
    }
}

/// Refuses to change a row that can't be read. It must be repaired first, because a change would overwrite its contents.
pub(in crate::store) fn check_readable(row: &UserRow) -> Result<(), StoreError> {
    match row.is_unreadable() {
        false => Ok(()),
        true => Err(StoreError::Conflict(format!(
            "the row of user {} can't be read; `bulla doctor` names the statement that repairs it",
            row.id
        ))),
    }
}

/// Returns the `users.id` of a user id. `None` for an id of an embedding program.
pub(in crate::store) fn row_id(id: &UserId) -> Option<i64> {
    id.as_str().parse().ok().filter(|n: &i64| n.to_string() == id.as_str())
}
