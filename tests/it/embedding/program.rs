//! Runs another actix-web program with Bulla inside, on a free port, with users of its own.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpServer, web::ServiceConfig};
use async_trait::async_trait;
use bulla::{Builder, Bulla, LoginError, Principal, SecretText, Site, StoreError, User, UserId, Users};
use serde_json::json;

use crate::support::{
    server::{Browser, Jar, PASSWORD},
    stores::{Shell, TestDatabase},
};

/// The users of the program, by id. All have the same password.
#[derive(Clone, Default)]
pub struct Members(Arc<Mutex<BTreeMap<String, User>>>);

impl Members {
    /// `ada` with the role `admin`, and `bob` without a role.
    pub fn new() -> Self {
        let members = Self::default();
        members.add("ada", &["admin"]);
        members.add("bob", &[]);
        members
    }

    pub fn add(&self, name: &str, roles: &[&str]) -> User {
        let id = UserId::new(format!("member-{name}")).unwrap();
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let claims = json!({"plan": "team"}).as_object().unwrap().clone();
        let user = User { id: id.clone(), name: name.into(), roles, claims };
        self.0.lock().unwrap().insert(id.to_string(), user.clone());
        user
    }

    pub fn named(&self, name: &str) -> User {
        self.0.lock().unwrap().values().find(|user| user.name == name).unwrap().clone()
    }

    pub fn remove(&self, name: &str) {
        self.0.lock().unwrap().retain(|_, user| user.name != name);
    }
}

#[async_trait]
impl Users for Members {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(self.0.lock().unwrap().get(id.as_str()).cloned())
    }

    async fn check_password(&self, name: &str, password: &SecretText) -> Result<User, LoginError> {
        let known = self.0.lock().unwrap().values().find(|user| user.name == name).cloned();
        known.filter(|_| password.expose() == PASSWORD).ok_or(LoginError::Wrong)
    }
}

/// A running program.
pub struct Program {
    pub bulla: Bulla,
    pub members: Members,
    pub origin: String,
    database: TestDatabase,
    _home: tempfile::TempDir,
}

impl Program {
    /// Starts the program with the routes of a login and those that `routes` adds.
    pub async fn start(
        settings: impl FnOnce(Builder) -> Builder,
        routes: impl Fn(&Bulla, &mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let (home, database, members) = (tempfile::tempdir().unwrap(), TestDatabase::new(), Members::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let builder = Bulla::builder(home.path().join("keys"), database.database())
            .site(Site::loopback(port, false))
            .users(members.clone())
            .init();
        let bulla = settings(builder).start().await.unwrap();
        let served = bulla.clone();
        let application = HttpServer::new(move || {
            let (bulla, routes) = (served.clone(), routes.clone());
            App::new().configure(bulla.routes()).configure(move |app| routes(&bulla, app))
        });
        tokio::spawn(application.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { bulla, members, origin: format!("http://localhost:{port}"), database, _home: home }
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser { client, origin: self.origin.clone(), jar: Jar::default() }
    }

    /// A browser in which this user is logged in by the password.
    pub async fn logged_in(&self, name: &str) -> Browser {
        let browser = self.browser();
        browser.log_in(name).await;
        browser
    }

    /// A connection like that of a database shell.
    pub fn shell(&self) -> Shell {
        self.database.shell()
    }

    /// The file of a SQLite database.
    pub fn file(&self) -> std::path::PathBuf {
        self.database.file()
    }

    /// The details of the newest audit event of this kind.
    pub async fn newest(&self, event: &str) -> serde_json::Value {
        let rows = self.bulla.sessions().parts().store.audit(None, 10_000).await.unwrap();
        rows.into_iter().rfind(|row| row.event == event).map(|row| row.detail).unwrap_or_default()
    }

    /// The number of live sessions.
    pub async fn sessions(&self) -> usize {
        self.bulla.sessions().parts().store.sessions(None, 1000).await.unwrap().0.len()
    }
}

/// `GET /me`: the id of the caller.
pub async fn me(who: Principal) -> String {
    who.id().to_owned()
}
