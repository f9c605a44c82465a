//! Tests the pages in a real browser: they are plain, labelled and readable, and show markup from user input as text.

use serde_json::{Value, json};

use crate::support::{
    chromium::Chromium,
    server::{PASSWORD, Server},
};

#[tokio::test]
async fn every_page_has_a_title_and_labels_and_logs_nothing_to_the_console() {
    let server = Server::started(&[]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    for (path, status) in [
        ("/auth/login?signed-out", 200),
        ("/auth/login", 200),
        ("/auth/account", 200),
        ("/auth/account?password-changed", 200),
        ("/auth/nothing", 404),
        ("/auth/logout", 405),
    ] {
        person.goes_to(path).await;
        assert_eq!(person.status().await, status, "{path}");
        assert_eq!(person.runs(include_str!("pages/faults.js")).await, json!([]), "{path}");
        let complaints = person.complaints().await;
        let of_status = |said: &String| said.contains(&format!("status of {status}"));
        let silent = if status == 200 { complaints.is_empty() } else { complaints.iter().all(of_status) };
        assert!(silent, "{path}: {complaints:?}");
        if path == "/auth/login" {
            person.signs_in("ada", PASSWORD).await;
        }
    }
}

#[tokio::test]
async fn pages_are_readable_in_light_and_in_dark_and_on_a_phone() {
    let server = Server::started(&[]);
    let long = format!("ada.{}@example.org", "of-a-long-line-of-countesses.".repeat(3));
    server.add_user(&long, &["a-role-with-a-long-name", "another-role"]);
    let Some(person) = Chromium::start(&server.origin).await else { return };
    person.goes_to("/auth/login").await;
    person.signs_in(&long, "wrong").await;
    is_readable(&person, "the login with an error").await;
    person.signs_in(&long, PASSWORD).await;
    for page in ["/auth/account?password-changed", "/auth/nothing"] {
        person.goes_to(page).await;
        is_readable(&person, page).await;
    }
}

async fn is_readable(person: &Chromium, page: &str) {
    let mut looks = Vec::new();
    for scheme in ["light", "dark"] {
        person.prefers(scheme).await;
        let measured = person.runs(include_str!("pages/contrasts.js")).await;
        let measured = measured.as_array().unwrap();
        assert!(measured.len() >= 3, "{page}: {measured:?}");
        let poor: Vec<&Value> = measured.iter().filter(|of| of[1].as_f64().unwrap() < 1.0).collect();
        assert!(poor.is_empty(), "{page} in {scheme}: {poor:?}");
        let colours = "const [body, card] = ['body', '.card'].map(s => getComputedStyle(document.querySelector(s))); \
                       return [body.color, body.backgroundColor, card.backgroundColor]";
        looks.push(person.runs(colours).await.as_array().unwrap().clone());
    }
    assert!(looks[0].iter().zip(&looks[1]).all(|(light, dark)| light != dark), "{page}: {looks:?}");
    person.holds_a_phone(360).await;
    let width = person.runs("return document.documentElement.scrollWidth").await;
    assert_eq!(width, 360, "{page}: nothing sticks out to the side");
    person.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
}

#[tokio::test]
async fn markup_in_a_name_or_a_user_agent_is_shown_as_text() {
    let server = Server::started(&[]);
    let evil = "<img src=x onerror=alert(1)>\"'</title><script>alert(2)</script>";
    server.add_user(evil, &[]);
    // The command line refuses such a role; an application or a database shell may still write it.
    server.sqlite3("UPDATE users SET roles = '[\"<b>\"]' WHERE id = 2");
    let Some(person) = Chromium::start(&server.origin).await else { return };
    let device = server.browser();
    let form = [("username", evil), ("password", PASSWORD)];
    let login =
        device.request(reqwest::Method::POST, "/auth/login").header("user-agent", "<svg/onload=alert(3)>");
    assert_eq!(device.send(login.form(&form)).await.status(), 303);

    let marks = "main :is(script, svg, b, img:not([alt='']))";
    person.goes_to("/auth/login").await;
    person.signs_in(evil, "wrong").await;
    assert_eq!((person.value("#username").await.as_str(), person.counts(marks).await), (evil, 0));
    person.signs_in(evil, PASSWORD).await;
    assert_eq!((person.reads("h1").await.as_str(), person.counts(marks).await), (evil, 0));
    assert_eq!(person.title().await, format!("{evil} · Bulla"));
    assert!(person.reads(".devices").await.contains("<svg/onload=alert(3)>"));
    assert_eq!(person.reads(".who .tag").await, "<b>");
    person.goes_to("/auth/account?x=\"><script>alert(4)</script>").await;
    assert_eq!((person.status().await, person.counts(marks).await), (200, 0));
    let complaints = person.complaints().await;
    assert!(complaints.len() == 1 && complaints[0].contains("status of 401"), "{complaints:?}");
}
