//! Tests Bulla inside another actix-web program that has its own users.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, http::StatusCode, test, web};
use async_trait::async_trait;
use bulla::internals::{
    clock::SystemClock,
    http::Bulla,
    identity::{Hasher, StoreUsers},
    ids::UserId,
    secret::SecretText,
    session::Principal,
    store::{
        Actor, AuditEvent, Event, LoginError, NewUser, Store, StoreError, User, UserSource as _, Users,
        sqlite::SqliteStore,
    },
};
use serde_json::json;

use crate::support::server::PASSWORD;

/// One user, whose password Bulla does not know.
struct Crew;

fn ada() -> User {
    User {
        id: UserId::new("crew-1").unwrap(),
        name: "ada".into(),
        roles: vec!["pilot".into()],
        claims: Default::default(),
    }
}

#[async_trait]
impl Users for Crew {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(Some(ada()).filter(|user| user.id == *id))
    }

    async fn check_password(&self, name: &str, _: &SecretText) -> Result<User, LoginError> {
        if name == "ada" { Ok(ada()) } else { Err(LoginError::Wrong) }
    }
}

async fn installation(home: &tempfile::TempDir) -> Bulla {
    let (keys, database) = (home.path().join("keys"), home.path().join("bulla.db"));
    Bulla::builder(keys, database)
        .site(bulla::Site::loopback(8080, false))
        .users(Crew)
        .init()
        .start()
        .await
        .unwrap()
}

#[actix_web::test]
async fn users_of_an_embedding_program_cannot_change_their_password_at_bulla() {
    let home = tempfile::tempdir().unwrap();
    let bulla = installation(&home).await;
    let app = test::init_service(App::new().configure(bulla.routes())).await;
    let login = json!({"username": "ada", "password": "x", "transport": "body"});
    let login = test::TestRequest::post().uri("/auth/login").set_json(login);
    let tokens: serde_json::Value = test::call_and_read_body_json(&app, login.to_request()).await;
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());

    let page = test::TestRequest::get().uri("/auth/account").insert_header(("authorization", &*bearer));
    let page = test::call_and_read_body(&app, page.to_request()).await;
    let page = std::str::from_utf8(&page).unwrap();
    assert!(page.contains("My devices") && !page.contains("password"), "{page}");
    let change = test::TestRequest::post().uri("/auth/password").insert_header(("authorization", &*bearer));
    let change = change.set_json(json!({"current": "x", "new": "correct horse battery"}));
    assert_eq!(test::call_service(&app, change.to_request()).await.status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn errors_under_auth_are_bullas_own_in_an_embedding_program() {
    let home = tempfile::tempdir().unwrap();
    let bulla = installation(&home).await;
    let app = test::init_service(App::new().configure(bulla.routes())).await;
    let twice = test::TestRequest::get().uri("/auth/login?rd=a&rd=b").to_request();
    let answer = test::call_service(&app, twice).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers().get("content-type").unwrap(), "application/problem+json");
    assert_eq!(answer.headers().get("cache-control").unwrap(), "no-store");
}

#[actix_web::test]
async fn an_answer_that_sets_a_cookie_is_never_cacheable() {
    let home = tempfile::tempdir().unwrap();
    let bulla = installation(&home).await;
    let cached = |_: Principal| async {
        HttpResponse::Ok().insert_header(("cache-control", "public, max-age=600")).body("a page")
    };
    let own = web::scope("").wrap(bulla.guard()).route("/page", web::get().to(cached));
    let app = test::init_service(App::new().configure(bulla.routes()).service(own)).await;
    let login = json!({"username": "ada", "password": "x"});
    let login = test::TestRequest::post().uri("/auth/login").set_json(login).to_request();
    let answer = test::call_service(&app, login).await;
    let cookies: Vec<String> = answer
        .headers()
        .get_all("set-cookie")
        .map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned())
        .collect();
    for (cookie, stored) in [(&cookies[0], "public, max-age=600"), (&cookies[1], "no-store")] {
        let page = test::TestRequest::get().uri("/page").insert_header(("cookie", &**cookie)).to_request();
        let answer = test::call_service(&app, page).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers().get("cache-control").unwrap(), stored, "{cookie}");
    }
}

/// The users of Bulla's table. One of them gets another hash just after the old password has been verified.
struct Meddled {
    users: StoreUsers,
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
    becomes: Mutex<Option<&'static str>>,
}

#[async_trait]
impl Users for Meddled {
    async fn find(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.users.find(id).await
    }

    async fn check_password(&self, name: &str, password: &SecretText) -> Result<User, LoginError> {
        let (user, _) = self.users.prove(name, password).await?;
        let becomes = self.becomes.lock().unwrap().take();
        if let Some(new) = becomes {
            let hash = self.hasher.hash(&SecretText::new(new.into())).await.unwrap();
            let event = AuditEvent::new(Event::PasswordChanged, Actor::read("tests"), "");
            self.store.change_password(&user.id, hash, None, event).await?;
        }
        Ok(user)
    }
}

#[actix_web::test]
async fn a_login_with_the_old_password_fails_if_the_password_changes_meanwhile() {
    for (becomes, status, sessions) in
        [("another fine password", StatusCode::UNAUTHORIZED, 0), (PASSWORD, StatusCode::OK, 1)]
    {
        let home = tempfile::tempdir().unwrap();
        let (keys, database) = (home.path().join("keys"), home.path().join("bulla.db"));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&database, Arc::new(SystemClock)).unwrap());
        let hasher = Arc::new(Hasher::new(1, 4));
        let hash = hasher.hash(&SecretText::new(PASSWORD.into())).await.unwrap();
        let new = NewUser { name: "ada".into(), password_hash: Some(hash), ..NewUser::default() };
        store.add_user(new, AuditEvent::new(Event::UserAdded, Actor::read("tests"), "")).await.unwrap();
        let users = Meddled {
            users: StoreUsers::new(store.clone(), Arc::clone(&hasher)),
            store: Arc::clone(&store),
            hasher,
            becomes: Mutex::new(Some(becomes)),
        };
        let bulla = Bulla::builder(keys, database)
            .site(bulla::Site::loopback(8080, false))
            .users(users)
            .init()
            .start()
            .await
            .unwrap();
        let app = test::init_service(App::new().configure(bulla.routes())).await;
        let log_in = |password: &str| {
            let login = json!({"username": "ada", "password": password});
            test::TestRequest::post().uri("/auth/login").set_json(login).to_request()
        };
        let answer = test::call_service(&app, log_in(PASSWORD)).await;
        assert_eq!(answer.status(), status, "{becomes}");
        assert_eq!(answer.headers().contains_key("set-cookie"), status == StatusCode::OK);
        assert_eq!(store.sessions(None, 10).await.unwrap().0.len(), sessions);
        assert_eq!(test::call_service(&app, log_in(becomes)).await.status(), StatusCode::OK);
    }
}
