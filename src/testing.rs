//! Helps embedding programs test their handlers: principals for unit tests, and an installation in a temporary folder.
//!
//! Not for production: [`installation`] logs a warning, and its keys and its database are deleted when it is dropped. A guard never
//! accepts a [`principal`] of this module, because it accepts only tokens and cookies.
//!
//! ```
//! use bulla::{Principal, testing};
//!
//! async fn greet(who: Principal) -> String {
//!     format!("Hello {}, editor: {}", who.id(), who.has_role("editor"))
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let who = testing::principal("42").role("editor").claim("plan", "team").build();
//! assert_eq!(greet(who).await, "Hello 42, editor: true");
//! # });
//! ```

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use crate::{
    clock::{Clock as _, SystemClock},
    http::{Bulla, Site},
    ids::{Sid, UserId},
    installation::StartError,
    secret::{Secret, SecretText},
    session::Principal,
    store::{Actor, AuditEvent, Device, Event, NewUser, StoreError, Transport, User},
};

/// The password of the user of [`installation`].
pub const PASSWORD: &str = "a password for tests only";

/// Makes a principal for the user with this id, without a session. Its [`ended`](Principal::ended) never completes. Does no I/O.
///
/// # Panics
///
/// [`build`](PrincipalBuilder::build) panics if the id does not have 1 to 255 bytes.
pub fn principal(id: &str) -> PrincipalBuilder {
    PrincipalBuilder { id: id.to_owned(), roles: Vec::new(), claims: serde_json::Map::new() }
}

/// Builds a principal; see [`principal`].
#[derive(Clone, Debug)]
pub struct PrincipalBuilder {
    id: String,
    roles: Vec<String>,
    claims: serde_json::Map<String, serde_json::Value>,
}

impl PrincipalBuilder {
    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Sets a claim, such as a text or a number. A name that Bulla reserves (`id`, `sid`, `roles`, …) is dropped, as in a token.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Builds the principal. Its token has the present time as its time of issue.
    ///
    /// # Panics
    ///
    /// Panics if the id does not have 1 to 255 bytes.
    pub fn build(self) -> Principal {
        let id = UserId::new(self.id).expect("the id of a principal has 1 to 255 bytes");
        let user = User { id, name: String::new(), roles: self.roles, claims: self.claims };
        Principal::of(&user, Sid([0; 16]), None, SystemClock.now())
    }
}

/// An installation for tests, see [`installation`]. When it is dropped, its folder is deleted.
#[derive(Debug)]
pub struct Installation {
    bulla: Bulla,
    user: User,
    _folder: Folder,
}

/// The temporary folder of an installation. Deleted on drop.
#[derive(Debug)]
struct Folder(PathBuf);

/// Starts an installation with new keys and a new SQLite database in a temporary folder. It has the user `ada` with the role
/// `admin` and the password [`PASSWORD`], and the site is `http://localhost:8080`. Writes files and hashes one password. Needs a
/// tokio runtime.
///
/// # Errors
///
/// [`StartError`] if the temporary folder can't be created or used, or if the system gives no random bytes.
pub async fn installation() -> Result<Installation, StartError> {
    let unavailable = |what: String| StartError::Store(StoreError::Unavailable(what));
    let name = Secret::<12>::generate().map_err(|error| unavailable(error.to_string()))?.to_base64url();
    let folder = std::env::temp_dir().join(format!("bulla-testing-{}", *name));
    let made = DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(|error| unavailable(format!("{} can't be created: {error}", folder.display())))?;
    let guard = Folder(folder.clone());
    tracing::warn!(
        folder = %folder.display(),
        "an installation for tests starts; its keys and its database are deleted when it ends"
    );
    let bulla = Bulla::builder(folder.join("keys"), folder.join("bulla.db"))
        .site(Site::loopback(8080, false))
        .init()
        .start()
        .await?;
    let password_hash = bulla.hasher().hash(&SecretText::new(PASSWORD.to_owned())).await;
    let password_hash = password_hash.map_err(|error| unavailable(error.to_string()))?;
    let new = NewUser {
        name: "ada".to_owned(),
        password_hash: Some(password_hash),
        roles: vec!["admin".to_owned()],
        ..NewUser::default()
    };
    let event = AuditEvent::new(Event::UserAdded, Actor::System, "");
    let row = bulla.sessions().parts().store.add_user(new, event).await?;
    let user = User { id: row.id, name: row.name, roles: row.roles, claims: row.claims };
    Ok(Installation { bulla, user, _folder: guard })
}

impl Installation {
    /// The handle of the installation, for guards and routes.
    pub fn bulla(&self) -> &Bulla {
        &self.bulla
    }

    /// The user `ada`.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Begins a session of `ada` and returns the value of the header `Cookie` for requests with it.
    ///
    /// # Errors
    ///
    /// [`StartError::Store`] if the session can't be begun, for example because the database can't be used.
    pub async fn cookie(&self) -> Result<String, StartError> {
        let begun = self.bulla.sessions().begin(&self.user, Transport::Cookie, Device::default(), None).await;
        let issued = begun.map_err(|error| StartError::Store(StoreError::Unavailable(error.to_string())))?;
        Ok(self.bulla.0.cookie_header(&issued))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system's cleanup of temporary files handles a folder that can't be deleted.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
