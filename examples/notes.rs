//! A notes program on actix-web with users of its own. `docs/embedding.md` explains it piece by piece.
//!
//! ```text
//! cargo run --example notes
//! ```

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Result, web};
use async_trait::async_trait;
use bulla::{
    Bulla, ForeignScheme, Hasher, LoginError, Principal, Problem, SecretText, Site, StoreError, User, UserId,
    Users,
    pages::{LoginPage, Pages},
};
use serde::Deserialize;
use serde_json::json;

/// The users of this program: the password hash of each name. A real program would query its own tables.
#[derive(Clone)]
struct Members {
    hasher: Arc<Hasher>,
    hashes: Arc<Mutex<HashMap<String, String>>>,
}

impl Members {
    fn hashes(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user of this name. Names are letters and digits; `ada` is the administrator.
    fn user(name: &str) -> Option<User> {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let roles = if name == "ada" { vec!["admin".to_owned()] } else { Vec::new() };
        let claims = [("plan".to_owned(), json!("team"))].into_iter().collect();
        Some(User { id: UserId::new(name).ok()?, name: name.to_owned(), roles, claims })
    }
}

#[async_trait]
impl Users for Members {
    /// Called at every renewal: a user who was removed loses access within two minutes.
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(Self::user(id.as_str()).filter(|user| self.hashes().contains_key(&user.name)))
    }

    /// A login with an unknown name takes as long as one with a known name: `verify` does the same work without a hash.
    async fn check_password(&self, name: &str, password: &SecretText) -> Result<User, LoginError> {
        let hash = self.hashes().get(name).cloned();
        match self.hasher.verify(password, hash.as_deref()).await {
            Ok(true) => Self::user(name).ok_or(LoginError::Wrong),
            Ok(false) => Err(LoginError::Wrong),
            Err(_) => Err(LoginError::Busy),
        }
    }
}

/// The login page of this program. Bulla renders the account page and the error pages.
struct NotesPages;

impl Pages for NotesPages {
    fn login(&self, page: &LoginPage<'_>) -> Option<String> {
        Some(format!(
            "<!doctype html><title>Notes</title><h1>Sign in to your notes</h1><p>{}</p><form method=post action={}/login>\
             <input type=hidden name=rd value=\"{}\"><input name=username><input name=password type=password>\
             <button>Sign in</button></form>",
            escaped(page.error.unwrap_or_default()),
            page.prefix,
            escaped(page.rd),
        ))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[derive(Deserialize)]
struct Registration {
    name: String,
    password: SecretText,
}

/// Adds a member and signs them in, without a second form.
async fn register(
    bulla: web::Data<Bulla>,
    members: web::Data<Members>,
    request: HttpRequest,
    form: web::Form<Registration>,
) -> Result<HttpResponse, Problem> {
    let user = Members::user(&form.name)
        .ok_or_else(|| Problem::unprocessable("The name must consist of letters and digits."))?;
    let hash = members.hasher.hash(&form.password).await.map_err(|_| Problem::busy())?;
    if members.hashes().contains_key(&form.name) {
        return Err(Problem::conflict("There is a member of this name."));
    }
    members.hashes().insert(form.name.clone(), hash);
    let signed_in = bulla.sign_in(&user, &request, "registration").await?;
    Ok(signed_in.cookies.on(HttpResponse::SeeOther().insert_header(("location", "/")).finish()))
}

/// A page that anybody may see.
async fn home(who: Option<Principal>) -> HttpResponse {
    let page = match who {
        Some(who) => format!("<h1>Hello {}</h1><a href=/notes>Notes</a>", who.id()),
        None => "<h1>Notes</h1><a href=/auth/login>Sign in</a>".to_owned(),
    };
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page)
}

/// A page for members. The roles and claims are those of the last renewal.
async fn notes(who: Principal) -> String {
    let plan = who.claims().get("plan").cloned().unwrap_or_default();
    format!("The notes of {}, plan {plan}\n", who.id())
}

/// An event stream that ends with the session.
async fn live(who: Principal) -> HttpResponse {
    let ended = Box::pin(who.ended());
    let ticks = futures_util::stream::unfold((0_u64, ended), |(count, mut ended)| async move {
        tokio::select! {
            () = &mut ended => None,
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                let event = web::Bytes::from(format!("data: {count}\n\n"));
                Some((Ok::<_, actix_web::Error>(event), (count + 1, ended)))
            }
        }
    });
    HttpResponse::Ok().content_type("text/event-stream").streaming(ticks)
}

/// Removes a member. Their sessions end on every server within a second.
async fn remove(
    bulla: web::Data<Bulla>,
    members: web::Data<Members>,
    name: web::Path<String>,
) -> Result<String, Problem> {
    let id = UserId::new(name.as_str()).map_err(|error| Problem::bad_request(error.to_string()))?;
    members.hashes().remove(name.as_str());
    let ended = bulla.end_sessions_of(&id).await?;
    Ok(format!("{ended} sessions ended\n"))
}

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let home_folder = arguments.get(1).map_or("target/notes", String::as_str);
    let listener = TcpListener::bind(("127.0.0.1", arguments.get(2).map_or(Ok(8080), |port| port.parse())?))?;
    let port = listener.local_addr()?.port();
    std::fs::create_dir_all(home_folder)?;
    let hasher = Arc::new(Hasher::new(2, 64));
    let hash = hasher.hash(&SecretText::new("correct horse battery".to_owned())).await?;
    let members = Members { hasher, hashes: Arc::new(Mutex::new(HashMap::from([("ada".to_owned(), hash)]))) };

    // Opens the key ring and the database; creates them if they are missing.
    let bulla = Bulla::builder(format!("{home_folder}/keys"), format!("{home_folder}/bulla.db").as_str())
        .site(Site::loopback(port, false))
        .users(members.clone())
        .pages(NotesPages)
        .basic(false)
        .foreign_scheme(ForeignScheme::Ignore)
        .init()
        .start()
        .await?;

    println!("http://localhost:{port}");
    HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(bulla.clone()))
            .app_data(web::Data::new(members.clone()))
            .configure(bulla.routes()) // /auth/login, /auth/refresh, /auth/logout, /auth/account, …
            .service(web::resource("/notes").wrap(bulla.guard()).to(notes))
            .service(web::resource("/live").wrap(bulla.guard()).to(live))
            .service(web::resource("/").wrap(bulla.guard().optional()).to(home))
            .service(
                web::resource("/members/{name}")
                    .wrap(bulla.guard().role("admin"))
                    .route(web::delete().to(remove)),
            )
            .route("/register", web::post().to(register))
            .configure(bulla.health_routes()) // /health/live, /health/ready
    })
    .listen(listener)?
    .run()
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bulla::testing;

    use super::*;

    #[actix_web::test]
    async fn the_notes_name_their_owner_and_the_plan() {
        let who = testing::principal("grace").claim("plan", "team").build();
        assert_eq!(notes(who).await, "The notes of grace, plan \"team\"\n");
    }
}
