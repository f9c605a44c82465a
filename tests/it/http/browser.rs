//! Tests in a real browser: the login, the account page, several tabs, and sessions that end.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    chromium::Chromium,
    server::{ACCESS, PASSWORD, REFRESH, Server, eventually},
};

/// Sets the last rotation of every session back by 61 seconds, so that the next renewal rotates.
fn a_minute_passes(server: &Server) {
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
}

#[tokio::test]
async fn a_login_with_the_form_leads_to_the_account_page() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/").await;
    assert_eq!((person.status().await, person.title().await.as_str()), (401, "Sign in · Bulla"));
    assert_eq!(person.focus().await, "username");
    person.signs_in("ada", PASSWORD).await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account"));
    assert_eq!(person.title().await, "ada · Bulla");
    assert_eq!(person.reads("h1").await, "ada");
    assert_eq!(person.reads(".devices .here").await, "this device");
    assert!(person.reads(".devices").await.contains("Chrome (headless) on Linux"));
}

#[tokio::test]
async fn the_cookies_are_stored_by_the_browser_and_hidden_from_scripts() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/auth/login").await;
    person.runs(&format!("document.cookie = '{REFRESH}=planted; Path=/; Secure; SameSite=Lax'")).await;
    assert!(person.cookie(REFRESH).await.is_none(), "no script can plant one");
    person.logs_in("ada").await;
    for (name, max_age) in [(ACCESS, 120), (REFRESH, 1800)] {
        let cookie = person.cookie(name).await.unwrap();
        assert_eq!((cookie.http_only(), cookie.secure()), (Some(true), Some(true)), "{name}");
        assert!(cookie.same_site().unwrap().is_lax(), "{name}");
        assert_eq!((cookie.path(), cookie.domain()), (Some("/"), Some("localhost")), "{name}");
        let now = person.runs("return Date.now()").await.as_f64().unwrap() / 1000.0;
        let left = cookie.expires_datetime().unwrap().unix_timestamp() as f64 - now;
        assert!(left <= f64::from(max_age) && left > f64::from(max_age) * 0.95 - 30.0, "{name}: {left}");
        assert!(cookie.value().starts_with("bulX"), "{name}");
    }
    assert_eq!(person.runs("return document.cookie").await, "");
}

#[tokio::test]
async fn a_wrong_password_is_reported_on_the_page_and_the_name_is_kept() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/auth/login?rd=/auth/account?from=mail").await;
    person.signs_in("ada", "wrong").await;
    assert_eq!(
        (person.status().await, person.reads(".error").await.as_str()),
        (401, "Name or password is wrong.")
    );
    assert_eq!(
        (person.value("#username").await, person.value("#password").await),
        ("ada".into(), String::new())
    );
    assert_eq!(person.focus().await, "password");
    assert!(person.cookie(ACCESS).await.is_none() && person.cookie(REFRESH).await.is_none());
    person.types("#password", PASSWORD).await;
    person.presses("Sign in").await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account?from=mail"));
}

#[tokio::test]
async fn a_reload_without_the_access_cookie_rotates_and_keeps_the_session() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    let (access, refresh) = (person.cookie(ACCESS).await.unwrap(), person.cookie(REFRESH).await.unwrap());
    a_minute_passes(&server);
    person.loses_cookie(ACCESS).await;
    person.reloads().await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "ada"));
    assert_ne!(person.cookie(ACCESS).await.unwrap().value(), access.value());
    assert_ne!(person.cookie(REFRESH).await.unwrap().value(), refresh.value());
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|1");
}

#[tokio::test]
async fn an_expired_access_cookie_is_renewed_by_the_next_request() {
    let server = Server::started(&[("BULLA_ACCESS_MAX_AGE", "4s"), ("BULLA_REPLAY_WINDOW", "1s")]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    let refresh = person.cookie(REFRESH).await.unwrap();
    eventually("the browser drops the cookie", || async { person.cookie(ACCESS).await.is_none() }).await;
    person.reloads().await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "ada"));
    assert_ne!(person.cookie(REFRESH).await.unwrap().value(), refresh.value());
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|1");
}

#[tokio::test]
async fn tabs_that_open_and_reload_at_once_make_one_rotation_and_keep_the_session() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    a_minute_passes(&server);
    person.loses_cookie(ACCESS).await;
    person.opens_tabs(5, "/auth/account").await;
    assert_eq!(person.reads_in_every_tab("h1").await, ["ada"; 6]);
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|1");
    a_minute_passes(&server);
    person.loses_cookie(ACCESS).await;
    person.reloads_every_tab().await;
    assert_eq!(person.reads_in_every_tab("h1").await, ["ada"; 6]);
    assert_eq!(server.sqlite3("SELECT count(*), max(generation) FROM sessions"), "1|2");
    assert_eq!(server.sqlite3("SELECT count(*) FROM audit WHERE event LIKE 'refresh.%'"), "0");
}

#[tokio::test]
async fn a_session_deleted_in_a_database_shell_leads_to_the_login_within_one_second() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    server.sqlite3("DELETE FROM sessions");
    let deleted = Instant::now();
    loop {
        let asked = deleted.elapsed();
        person.reloads().await;
        if person.sees("#username").await {
            break;
        }
        assert!(asked < Duration::from_secs(1), "still logged in after {asked:?}");
    }
    assert_eq!((person.status().await, person.place().await.as_str()), (401, "/auth/account"));
    assert!(person.cookie(REFRESH).await.is_some(), "only a logout clears cookies");
    person.signs_in("ada", PASSWORD).await;
    assert_eq!((person.status().await, person.reads("h1").await.as_str()), (200, "ada"));
}

#[tokio::test]
async fn the_back_button_shows_no_private_page_after_the_logout() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    // Chromium keeps pages in memory for the back button, even pages with `no-store`.
    for way in ["Sign out", "End the session of Chrome (headless) on Linux", "Sign out everywhere"] {
        person.logs_in("ada").await;
        person.presses(way).await;
        assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/login?signed-out"));
        assert_eq!(person.reads(".done").await, "You are signed out.");
        assert!(person.cookie(ACCESS).await.is_none() && person.cookie(REFRESH).await.is_none());
        assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
        person.goes_back().await;
        assert_eq!((person.status().await, person.place().await.as_str()), (401, "/auth/account"), "{way}");
        assert!(person.sees("#username").await && !person.sees(".devices").await);
    }
}

#[tokio::test]
async fn one_button_ends_another_device_and_one_ends_all() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let (phone, laptop) = (server.browser(), server.ada().await);
    let form = [("username", "ada"), ("password", PASSWORD)];
    let phones = phone.request(reqwest::Method::POST, "/auth/login").header("user-agent", "phone/1");
    assert_eq!(phone.send(phones.form(&form)).await.status(), 303);
    person.logs_in("ada").await;
    assert_eq!(person.counts(".devices li").await, 3);
    person.presses("End the session of phone/1").await;
    assert_eq!((person.place().await.as_str(), person.counts(".devices li").await), ("/auth/account", 2));
    assert_eq!((phone.status().await, laptop.status().await), (401, 200));

    // The session is ended elsewhere while the page is open.
    let laptops = laptop.sid().await;
    server.sqlite3(&format!("DELETE FROM sessions WHERE sid = '{laptops}'"));
    person.presses("End the session of Unknown device").await;
    assert_eq!(
        (person.status().await, person.reads(".error").await.as_str()),
        (404, "This device is not signed in any more.")
    );
    assert_eq!(person.counts(".devices li").await, 1);

    let tablet = server.ada().await;
    person.presses("Sign out everywhere").await;
    assert_eq!((person.place().await.as_str(), tablet.status().await), ("/auth/login?signed-out", 401));
}

#[tokio::test]
async fn a_password_is_changed_on_the_page_and_ends_the_other_devices() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let other = server.ada().await;
    person.logs_in("ada").await;
    for (current, new, status, said) in [
        ("wrong", "a new good one", 403, "The current password is wrong."),
        (PASSWORD, "short", 422, "The new password is not accepted"),
    ] {
        person.types("#current", current).await;
        person.types("#new", new).await;
        person.presses("Change the password").await;
        assert_eq!(person.status().await, status);
        assert!(person.reads(".error").await.contains(said));
        assert_eq!((person.value("#current").await, person.value("#new").await), Default::default());
    }
    assert_eq!(other.status().await, 200);
    person.types("#current", PASSWORD).await;
    person.types("#new", "a new good one").await;
    person.presses("Change the password").await;
    assert!(person.reads(".done").await.contains("Your password was changed"));
    assert_eq!((person.counts(".devices li").await, other.status().await), (1, 401));
    person.presses("Sign out").await;
    person.signs_in("ada", PASSWORD).await;
    assert!(person.sees(".error").await, "the old one is wrong");
    person.signs_in("ada", "a new good one").await;
    assert_eq!(person.reads("h1").await, "ada");
}

#[tokio::test]
async fn a_login_redirects_only_to_the_requested_page_of_this_site() {
    let shop = Server::started(&[]);
    let server = Server::started(&[("BULLA_ALLOWED_ORIGINS", &shop.origin)]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let shops = format!("{}/auth/login", shop.origin);
    for (asked, reached) in [
        ("/auth/account?from=mail", "/auth/account?from=mail"),
        ("/auth/login?rd=/auth/session", "/auth/session"),
        ("/auth/login?rd=https://evil.example/", "/auth/account"),
        ("/auth/login?rd=//evil.example/", "/auth/account"),
        ("/auth/continue?rd=/auth/sessions", "/auth/sessions"),
        (&format!("/auth/login?rd={shops}"), &shops),
    ] {
        person.goes_to(asked).await;
        person.signs_in("ada", PASSWORD).await;
        assert_eq!(person.place().await, reached, "{asked}");
        person.goes_to("/auth/account").await;
        person.presses("Sign out").await;
    }
    assert_eq!(server.sqlite3("SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn a_form_sent_after_the_end_of_the_session_leads_through_the_login_to_the_account() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let other = server.ada().await;
    person.logs_in("ada").await;
    assert_eq!(other.post("/auth/logout", json!({"everywhere": true})).await.status(), 204);
    person.types("#current", PASSWORD).await;
    person.types("#new", "a new good one").await;
    person.presses("Change the password").await;
    assert_eq!(person.status().await, 401);
    person.signs_in("ada", PASSWORD).await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account"));
}

#[tokio::test]
async fn all_pages_work_without_scripts() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::without_scripts(&server.origin).await else { return };
    person.goes_to("data:text/html,<title>off</title><script>document.title = 'on'</script>").await;
    assert_eq!(person.title().await, "off", "scripts don't run here");
    let other = server.ada().await;
    person.goes_to("/").await;
    person.signs_in("ada", "wrong").await;
    assert!(person.sees(".error").await);
    person.signs_in("ada", PASSWORD).await;
    assert_eq!(person.counts(".devices li").await, 2);
    a_minute_passes(&server);
    person.loses_cookie(ACCESS).await;
    person.reloads().await;
    person.types("#current", PASSWORD).await;
    person.types("#new", "a new good one").await;
    person.presses("Change the password").await;
    assert!(person.sees(".done").await);
    assert_eq!((person.counts(".devices li").await, other.status().await), (1, 401));
    person.presses("Sign out").await;
    assert_eq!(person.place().await, "/auth/login?signed-out");
}

#[tokio::test]
async fn changing_a_credential_after_an_old_login_leads_through_a_new_login_and_back() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.logs_in("ada").await;
    server.sqlite3(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', 'eve', '1')",
    );
    server.sqlite3("UPDATE sessions SET auth_time = auth_time - 601000");
    person.reloads().await;
    person.presses("Unlink eve at https://id.example").await;
    assert_eq!((person.status().await, person.title().await.as_str()), (403, "Sign in · Bulla"));
    assert!(person.reads(".error").await.contains("too long ago"));
    assert_eq!(person.value("#username").await, "ada");
    person.types("#password", PASSWORD).await;
    person.presses("Sign in").await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account"));
    person.presses("Unlink eve at https://id.example").await;
    assert_eq!((person.status().await, person.place().await.as_str()), (200, "/auth/account"));
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "0");

    // Changing the password asks for the current one, and the page then names recently linked identities.
    server.sqlite3(
        "INSERT INTO identities (issuer, subject, user_id) VALUES ('https://id.example', 'mallory', '1')",
    );
    server.sqlite3("UPDATE sessions SET auth_time = NULL");
    person.types("#current", PASSWORD).await;
    person.types("#new", "a new good one").await;
    person.presses("Change the password").await;
    assert_eq!(person.place().await, "/auth/account?password-changed");
    assert!(person.reads(".lately").await.contains("mallory"));
    person.presses("Unlink mallory at https://id.example").await;
    assert_eq!(server.sqlite3("SELECT count(*) FROM identities"), "0", "the change was a proof, just now");
}
