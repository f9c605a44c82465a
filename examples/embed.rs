//! Embeds Bulla in another actix-web program, which supplies the users and the claims.
//!
//! ```text
//! cargo run --example embed
//! curl -c jar --json '{"username":"ada","password":"correct horse battery"}' http://localhost:8080/auth/login
//! curl -b jar -c jar http://localhost:8080/hello
//! ```

use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use bulla::{Bulla, Hasher, LoginError, Principal, SecretText, Site, StoreError, User, UserId, Users};
use serde_json::json;

/// The only user of this program. A real program would query its own tables.
struct Crew {
    hasher: Hasher,
    password_hash: String,
}

impl Crew {
    fn ada() -> User {
        let claims = [("plan".to_owned(), json!("team"))].into_iter().collect();
        let id = UserId::new("crew-1").expect("a valid id");
        User { id, name: "ada".to_owned(), roles: vec!["pilot".to_owned()], claims }
    }
}

#[async_trait]
impl Users for Crew {
    /// Called at every renewal: a user who was removed loses access within two minutes.
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(Some(Self::ada()).filter(|user| user.id == *id))
    }

    /// A login with an unknown name takes as long as one with a known name: `verify` does the same work without a hash.
    async fn check_password(&self, name: &str, password: &SecretText) -> Result<User, LoginError> {
        let hash = (name == "ada").then_some(self.password_hash.as_str());
        match self.hasher.verify(password, hash).await {
            Ok(true) => Ok(Self::ada()),
            Ok(false) => Err(LoginError::Wrong),
            Err(_) => Err(LoginError::Busy),
        }
    }
}

/// Takes a [`Principal`]: the user for whom the guard has accepted the request.
async fn hello(who: Principal) -> String {
    let plan = who.claims().get("plan").cloned().unwrap_or_default();
    format!("Hello {}, plan {plan}, pilot: {}\n", who.id(), who.has_role("pilot"))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all("target/embed")?;
    let hasher = Hasher::new(2, 64);
    let password_hash = hasher.hash(&SecretText::new("correct horse battery".to_owned())).await?;

    // Opens the key ring and the database; creates them if they are missing.
    let bulla = Bulla::builder("target/embed/keys", "target/embed/bulla.db")
        .site(Site::loopback(8080, false))
        .users(Crew { hasher, password_hash })
        .init()
        .start()
        .await?;

    println!("log in at http://localhost:8080/auth/login as ada, \"correct horse battery\"; then /hello");
    HttpServer::new(move || {
        App::new()
            .configure(bulla.routes()) // /auth/login, /auth/refresh, /auth/logout, /auth/account, …
            .service(web::scope("").wrap(bulla.guard()).route("/hello", web::get().to(hello)))
    })
    .bind("127.0.0.1:8080")?
    .run()
    .await?;
    Ok(())
}
