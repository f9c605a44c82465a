//! Maps identities to users: finds the user of an identity, creates users for new identities, and derives roles from claims.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    Create, NoUser, OpenIdError, Preset, Proven, Provider, ProviderSettings, RoleMap, claims::has_mail,
};
use crate::{
    fetch::Fetch,
    jws::Signed,
    store::{
        Actor, AuditEvent, Event, Identity, NAME_MAX, NewUser, SessionRow, Store, StoreError, User,
        UserChange, UserRow, UserSource, is_good_name,
    },
};

/// The providers of an installation, with the users of the identities that they prove.
pub struct Providers {
    all: Vec<Provider>,
    store: Arc<dyn Store>,
    users: Arc<dyn UserSource>,
    may_create: bool,
}

impl Providers {
    /// Creates the providers over the users of an installation. `may_create` is false if the users belong to an embedding
    /// program: then identities can only be linked, and no users are created.
    pub fn new(
        all: Vec<ProviderSettings>,
        store: Arc<dyn Store>,
        users: Arc<dyn UserSource>,
        may_create: bool,
    ) -> Self {
        let fetch = Arc::new(Fetch::default());
        let all = all.into_iter().map(|settings| Provider::new(settings, Arc::clone(&fetch))).collect();
        Self { all, store, users, may_create }
    }

    /// Returns all providers, in the order of the settings.
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// Returns a provider by its name.
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.settings().name == name)
    }

    /// Returns the provider that an ID token names as its issuer, with this server as the audience. The token is not verified
    /// here, so the result is only a hint.
    pub fn of_token(&self, id_token: &str) -> Option<&Provider> {
        let claims = Signed::read(id_token).ok()?.claims;
        let (issuer, audience) = (claims.get("iss")?.as_str()?, claims.get("aud")?);
        let is_for = |client: &str| match audience {
            Value::Array(list) => list.iter().any(|one| one == client),
            one => one == client,
        };
        let mut from = self.all.iter().filter(|provider| {
            let settings = provider.settings();
            settings.issuers.iter().any(|legal| legal == issuer) && is_for(&settings.client_id)
        });
        from.next()
    }

    /// Returns the user of an identity. Creates a user for a new identity if the provider's policy allows it. Updates the user's
    /// roles from the claims.
    pub async fn user(&self, provider: &Provider, proven: &Proven) -> Result<User, NoUser> {
        let settings = provider.settings();
        let known = self.existing_user(&proven.identity).await?;
        let new = known.is_none() && self.may_create;
        if let Some(why) = proven.incomplete.as_ref().filter(|_| lacks_required_claim(settings, proven, new))
        {
            return Err(OpenIdError::Away(why.clone()).into());
        }
        let user = match known {
            Some(user) => user,
            None if new && may_become_user(settings, proven) => self.create_user(settings, proven).await?,
            None => return Err(OpenIdError::NoAccount.into()),
        };
        match &settings.roles {
            Some(map) => self.update_roles(settings, map, proven, user).await,
            None => Ok(user),
        }
    }

    /// Links an identity to the user of this session.
    ///
    /// # Errors
    ///
    /// `StoreError::CallerEnded` if the session has ended meanwhile, `StoreError::Conflict` if the identity is linked to another
    /// user.
    pub async fn link(
        &self,
        provider: &Provider,
        proven: &Proven,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        let user = &session.user_id;
        let event = AuditEvent::new(Event::IdentityLinked, user, "")
            .with(serde_json::json!({
                "provider": provider.settings().name, "issuer": proven.identity.issuer,
                "subject": proven.identity.subject,
            }))
            .by(session.as_caller());
        self.store.link(user, proven.identity.clone(), event).await
    }

    async fn existing_user(&self, identity: &Identity) -> Result<Option<User>, NoUser> {
        let Some(id) = self.store.user_of_identity(identity).await? else { return Ok(None) };
        match self.users.find(&id).await? {
            Some(user) => Ok(Some(user)),
            None => Err(OpenIdError::Refused("disabled").into()),
        }
    }

    /// Creates a user with the first candidate name that is free. The user of a taken name counts as another person, however
    /// similar the two names are. The last candidate contains a digest of the identity.
    async fn create_user(&self, settings: &ProviderSettings, proven: &Proven) -> Result<User, NoUser> {
        let mut claims = Map::new();
        let mail = proven.mail.clone().map(Value::String);
        let name = proven.claims.get("name").filter(|name| name.is_string()).cloned();
        claims
            .extend([("name", name), ("email", mail)].into_iter().filter_map(|(k, v)| Some((k.into(), v?))));
        for name in candidate_names(settings, proven) {
            let new = NewUser {
                name,
                claims: claims.clone(),
                identity: Some(proven.identity.clone()),
                ..NewUser::default()
            };
            let event = AuditEvent::new(Event::UserAdded, Actor::Provider(settings.name.clone()), "");
            match self.store.add_user(new, event).await {
                Ok(row) => return Ok(user(row)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // Two first logins came at the same time, and the other one has created the user.
            if let Some(user) = self.existing_user(&proven.identity).await? {
                return Ok(user);
            }
        }
        Err(StoreError::Conflict("no free user name could be found for this identity".into()).into())
    }

    /// Adds and removes the roles in the role map. The change applies to the row that the store reads, so a role that another
    /// change adds or removes at the same moment is kept.
    async fn update_roles(
        &self,
        settings: &ProviderSettings,
        map: &RoleMap,
        proven: &Proven,
        user: User,
    ) -> Result<User, NoUser> {
        let (give, take) = role_changes(map, proven.find(&map.claim));
        let change =
            UserChange { add_roles: give.clone(), remove_roles: take.clone(), ..UserChange::default() };
        let roles = change.roles_after(&user.roles);
        if !self.may_create || roles == user.roles {
            return Ok(User { roles, ..user });
        }
        let event = AuditEvent::new(Event::UserChanged, Actor::Provider(settings.name.clone()), "");
        match self.store.change_user(&user.id, change, event).await {
            Ok(Some(row)) if !row.disabled => Ok(self::user(row)),
            // The user was deleted or disabled meanwhile.
            Ok(_) => Err(OpenIdError::Refused("disabled").into()),
            Err(StoreError::LastAdmin) => {
                tracing::warn!(user = %user.id, "the last administrator keeps the role admin, although the \
                    provider's claims don't contain it");
                Ok(user)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn user(row: UserRow) -> User {
    User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
}

/// Whether the policy creates a user for this identity.
fn may_become_user(settings: &ProviderSettings, proven: &Proven) -> bool {
    let domain = match settings.preset {
        // A Google account may have an email address of any domain. The claim `hd` names the Workspace of the account.
        Preset::Google => proven.text("hd"),
        _ => proven.mail.as_deref().and_then(|mail| mail.rsplit_once('@')).map(|(_, domain)| domain),
    };
    match &settings.create {
        Create::Never => false,
        Create::Always => true,
        Create::Domains(domains) => {
            domain.is_some_and(|domain| domains.iter().any(|known| known.eq_ignore_ascii_case(domain)))
        }
    }
}

/// Whether the ID token lacks a required claim: the claim for roles or, for a new user, the claims that the policy needs.
fn lacks_required_claim(settings: &ProviderSettings, proven: &Proven, new: bool) -> bool {
    let roles = settings.roles.as_ref().is_some_and(|map| proven.find(&map.claim).is_none());
    let user = new
        && match &settings.create {
            Create::Never => false,
            Create::Domains(_) if settings.preset == Preset::Google => proven.text("hd").is_none(),
            Create::Domains(_) => !has_mail(&proven.claims),
            Create::Always => !has_mail(&proven.claims) && names_at_provider(proven).next().is_none(),
        };
    roles || user
}

/// Returns the person's names at the provider.
fn names_at_provider(proven: &Proven) -> impl Iterator<Item = &str> {
    ["preferred_username", "cognito:username", "name"].into_iter().filter_map(|claim| proven.text(claim))
}

/// Returns the names to try, best first: the verified email address, the chosen user name, other names at the provider.
fn candidate_names(settings: &ProviderSettings, proven: &Proven) -> Vec<String> {
    let Identity { issuer, subject } = &proven.identity;
    let digest = Sha256::digest(format!("{issuer} {subject}"));
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let chosen = proven.mail.as_deref().into_iter().chain(names_at_provider(proven));
    let clean = |name: &str| {
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX - 9).collect();
        Some(name.trim().to_owned()).filter(|name| is_good_name(name))
    };
    let best = chosen.into_iter().find_map(clean);
    let best = best.unwrap_or_else(|| settings.name.clone());
    vec![best.clone(), format!("{best}-{digest}")]
}

/// Returns the roles to add and the roles to remove. The claim decides about the roles in the map; all other roles stay.
fn role_changes(map: &RoleMap, claim: Option<&Value>) -> (Vec<String>, Vec<String>) {
    let said: Vec<&str> = match claim {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let given: BTreeSet<&String> = said.iter().filter_map(|value| map.roles.get(*value)).collect();
    let taken: BTreeSet<&String> = map.roles.values().filter(|role| !given.contains(role)).collect();
    (given.into_iter().cloned().collect(), taken.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_controls_only_the_roles_in_its_map() {
        let map = RoleMap {
            claim: "groups".into(),
            roles: [("Okta Admins", "admin"), ("Ops", "ops"), ("Ops EU", "ops")]
                .map(|(group, role)| (group.into(), role.into()))
                .into(),
        };
        let roles = |claim: Value, present: &[&str]| {
            let present: Vec<String> = present.iter().map(|&role| role.into()).collect();
            let (add_roles, remove_roles) = role_changes(&map, Some(&claim));
            UserChange { add_roles, remove_roles, ..UserChange::default() }.roles_after(&present).join(" ")
        };
        assert_eq!(roles(serde_json::json!(["Ops", "Ops EU", "Everyone"]), &["editor"]), "editor ops");
        assert_eq!(roles(serde_json::json!(["Okta Admins"]), &["editor", "ops"]), "editor admin");
        assert_eq!(roles(serde_json::json!("Ops"), &["ops", "editor"]), "ops editor");
        assert_eq!(roles(serde_json::json!([]), &["admin", "ops", "editor"]), "editor");
        assert_eq!(roles(serde_json::json!(["admin", "ops"]), &[]), "", "a group named like a role is none");
        assert_eq!(roles(serde_json::json!({"Ops": true}), &["ops"]), "");
    }
}
