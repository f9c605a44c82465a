//! Tests the module with which programs test their handlers.

use actix_web::{App, http::StatusCode, test, web};
use bulla::testing;

use super::program::me;

#[tokio::test]
async fn a_principal_for_unit_tests_has_the_roles_and_claims_it_is_given() {
    let who = testing::principal("42").role("editor").claim("plan", "team").claim("sid", "x").build();
    assert_eq!((who.id(), who.roles(), who.has_role("admin")), ("42", vec!["editor".to_owned()], false));
    assert_eq!(serde_json::Value::Object(who.claims()), serde_json::json!({"plan": "team"}));
    assert_eq!(me(who).await, "42");
}

#[actix_web::test]
async fn an_installation_for_tests_guards_logs_in_and_leaves_no_folder() {
    let installation = testing::installation().await.unwrap();
    let bulla = installation.bulla();
    let guarded = web::resource("/me").wrap(bulla.guard().role("admin")).route(web::get().to(me));
    let app = test::init_service(App::new().configure(bulla.routes()).service(guarded)).await;
    let stranger = test::TestRequest::get().uri("/me").to_request();
    assert_eq!(test::call_service(&app, stranger).await.status(), StatusCode::UNAUTHORIZED);
    let cookie = installation.cookie().await.unwrap();
    let ada = test::TestRequest::get().uri("/me").insert_header(("cookie", cookie)).to_request();
    assert_eq!(test::call_and_read_body(&app, ada).await, installation.user().id.to_string());
    let login = serde_json::json!({"username": "ada", "password": testing::PASSWORD});
    let login = test::TestRequest::post().uri("/auth/login").set_json(login).to_request();
    assert_eq!(test::call_service(&app, login).await.status(), StatusCode::OK);

    let place = format!("{installation:?}");
    let folder = place.split('"').find(|part| part.contains("bulla-testing-")).unwrap().to_owned();
    assert!(std::path::Path::new(&folder).exists());
    drop(installation);
    assert!(!std::path::Path::new(&folder).exists());
}
