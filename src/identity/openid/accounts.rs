//! From an identity to a user: whose it is, whether a new one becomes a user, and which roles its claims give.

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
        AuditEvent, Identity, NewUser, SessionRow, Store, StoreError, User, UserChange, UserRow, Users,
        is_good_name,
    },
};

/// Characters of the longest name a user can have.
const NAME_MAX: usize = 128;

/// The providers of an installation, and whose the identities are that they prove.
pub struct Providers {
    all: Vec<Provider>,
    store: Arc<dyn Store>,
    users: Arc<dyn Users>,
    may_create: bool,
}

impl Providers {
    /// Over the users that an installation has. `may_create` is false where users are another program's: then identities are
    /// only linked.
    pub fn new(
        all: Vec<ProviderSettings>,
        store: Arc<dyn Store>,
        users: Arc<dyn Users>,
        may_create: bool,
    ) -> Self {
        let fetch = Arc::new(Fetch::default());
        let all = all.into_iter().map(|settings| Provider::new(settings, Arc::clone(&fetch))).collect();
        Self { all, store, users, may_create }
    }

    /// All of them, in the order of the settings.
    pub fn all(&self) -> &[Provider] {
        &self.all
    }

    /// One, by its name.
    pub fn named(&self, name: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.settings().name == name)
    }

    /// The one that an ID token says it is from and for. Nothing it says is believed before it is checked.
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

    /// Whose an identity is. A new one becomes a user if the provider's policy says so; roles follow its claims.
    pub async fn user(&self, provider: &Provider, proven: &Proven) -> Result<User, NoUser> {
        let settings = provider.settings();
        let known = self.known(&proven.identity).await?;
        let new = known.is_none() && self.may_create;
        if let Some(why) = proven.incomplete.as_ref().filter(|_| needs_more(settings, proven, new)) {
            return Err(OpenIdError::Away(why.clone()).into());
        }
        let user = match known {
            Some(user) => user,
            None if new && becomes_user(settings, proven) => self.make(settings, proven).await?,
            None => return Err(OpenIdError::NoAccount.into()),
        };
        match &settings.roles {
            Some(map) => self.govern(settings, map, proven, user).await,
            None => Ok(user),
        }
    }

    /// Links an identity to a user who is signed in with this session: `StoreError::Ended` if it has ended meanwhile.
    pub async fn link(
        &self,
        provider: &Provider,
        proven: &Proven,
        session: &SessionRow,
    ) -> Result<(), StoreError> {
        let user = &session.user_id;
        let event = AuditEvent::new("identity.linked", user.to_string(), "")
            .with(serde_json::json!({
                "provider": provider.settings().name, "issuer": proven.identity.issuer,
                "subject": proven.identity.subject,
            }))
            .by(session.as_caller());
        self.store.link(user, proven.identity.clone(), event).await
    }

    async fn known(&self, identity: &Identity) -> Result<Option<User>, NoUser> {
        let Some(id) = self.store.identity(identity).await? else { return Ok(None) };
        match self.users.find(&id).await? {
            Some(user) => Ok(Some(user)),
            None => Err(OpenIdError::Refused("disabled").into()),
        }
    }

    /// Makes a user. A name that is taken is another's, however alike: then the identity's own digest tells them apart.
    async fn make(&self, settings: &ProviderSettings, proven: &Proven) -> Result<User, NoUser> {
        let mut claims = Map::new();
        let mail = proven.mail.clone().map(Value::String);
        let name = proven.claims.get("name").filter(|name| name.is_string()).cloned();
        claims
            .extend([("name", name), ("email", mail)].into_iter().filter_map(|(k, v)| Some((k.into(), v?))));
        for name in names(settings, proven) {
            let new = NewUser {
                name,
                claims: claims.clone(),
                identity: Some(proven.identity.clone()),
                ..NewUser::default()
            };
            let event = AuditEvent::new("user.added", format!("provider:{}", settings.name), "");
            match self.store.add_user(new, event).await {
                Ok(row) => return Ok(user(row)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            // Two first logins at once: the other was faster.
            if let Some(user) = self.known(&proven.identity).await? {
                return Ok(user);
            }
        }
        Err(StoreError::Conflict("no name is free for this identity".into()).into())
    }

    /// Gives and takes the roles that the map governs, on the row as the store finds it: a role that somebody else gives or
    /// takes at the same moment stays given or taken.
    async fn govern(
        &self,
        settings: &ProviderSettings,
        map: &RoleMap,
        proven: &Proven,
        user: User,
    ) -> Result<User, NoUser> {
        let (give, take) = governed(map, proven.find(&map.claim));
        let change =
            UserChange { add_roles: give.clone(), remove_roles: take.clone(), ..UserChange::default() };
        let roles = change.roles_after(&user.roles);
        if !self.may_create || roles == user.roles {
            return Ok(User { roles, ..user });
        }
        let event = AuditEvent::new("user.changed", format!("provider:{}", settings.name), "");
        match self.store.change_user(&user.id, change, event).await {
            Ok(Some(row)) if !row.disabled => Ok(self::user(row)),
            // Deleted or disabled meanwhile.
            Ok(_) => Err(OpenIdError::Refused("disabled").into()),
            Err(StoreError::LastAdmin) => {
                tracing::warn!(user = %user.id, "the last administrator keeps the role, whatever the provider says");
                Ok(user)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn user(row: UserRow) -> User {
    User { id: row.id, name: row.name, roles: row.roles, claims: row.claims }
}

/// The policy for new identities.
fn becomes_user(settings: &ProviderSettings, proven: &Proven) -> bool {
    let domain = match settings.preset {
        // A mail address at Google may be of any domain; `hd` says which Workspace has the account.
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

/// Whether the ID token alone does not suffice: the claim for roles is missing, or for a new user what the policy asks for.
fn needs_more(settings: &ProviderSettings, proven: &Proven, new: bool) -> bool {
    let roles = settings.roles.as_ref().is_some_and(|map| proven.find(&map.claim).is_none());
    let user = new
        && match &settings.create {
            Create::Never => false,
            Create::Domains(_) if settings.preset == Preset::Google => proven.text("hd").is_none(),
            Create::Domains(_) => !has_mail(&proven.claims),
            Create::Always => !has_mail(&proven.claims) && said_names(proven).next().is_none(),
        };
    roles || user
}

/// What the provider calls them.
fn said_names(proven: &Proven) -> impl Iterator<Item = &str> {
    ["preferred_username", "cognito:username", "name"].into_iter().filter_map(|claim| proven.text(claim))
}

/// Names to try, best first: what is verified, what they chose, what the provider calls them.
fn names(settings: &ProviderSettings, proven: &Proven) -> Vec<String> {
    let Identity { issuer, subject } = &proven.identity;
    let digest = Sha256::digest(format!("{issuer} {subject}"));
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let chosen = proven.mail.as_deref().into_iter().chain(said_names(proven));
    let clean = |name: &str| {
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX - 9).collect();
        Some(name.trim().to_owned()).filter(|name| is_good_name(name))
    };
    let best = chosen.into_iter().find_map(clean);
    let best = best.unwrap_or_else(|| settings.name.clone());
    vec![best.clone(), format!("{best}-{digest}")]
}

/// The roles that the map names come and go with the claim; all others stay. Which to give, and which to take.
fn governed(map: &RoleMap, claim: Option<&Value>) -> (Vec<String>, Vec<String>) {
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
    fn a_provider_governs_the_roles_its_map_names_and_no_others() {
        let map = RoleMap {
            claim: "groups".into(),
            roles: [("Okta Admins", "admin"), ("Ops", "ops"), ("Ops EU", "ops")]
                .map(|(group, role)| (group.into(), role.into()))
                .into(),
        };
        let roles = |claim: Value, present: &[&str]| {
            let present: Vec<String> = present.iter().map(|&role| role.into()).collect();
            let (add_roles, remove_roles) = governed(&map, Some(&claim));
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
