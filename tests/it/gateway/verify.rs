//! The routes of forward-auth at the wire level, with the requests that nginx, Caddy, Traefik and Envoy send as their documents and
//! sources describe them.

use reqwest::{Method, Response};

use crate::support::server::{ACCESS, Browser, REFRESH, Server, eventually, set_cookies};

/// A server that trusts proxies on loopback.
fn server(tables: &str) -> Server {
    let mut server =
        Server::new(&[("BULLA_TRUSTED_PROXIES", "127.0.0.1"), ("BULLA_PUBLIC_URL", "http://localhost:8080")]);
    server.write_secret("bulla.toml", tables);
    server.start_on("127.0.0.1:0");
    server.origin = format!("http://{}", listening(&server));
    server
}

/// The address at which a server listens, which differs from its public address.
fn listening(server: &Server) -> String {
    for _ in 0..1000 {
        if let Some((_, rest)) = server.stderr().split_once("port=") {
            return format!("127.0.0.1:{}", rest.split_whitespace().next().unwrap());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the server does not log its port: {}", server.stderr());
}

/// A browser that reaches the server at its public address.
async fn ada(server: &Server) -> Browser {
    let browser = server.browser();
    let form = [("username", "ada"), ("password", crate::support::server::PASSWORD)];
    let login = browser.request(Method::POST, "/auth/login").header("host", "localhost:8080").form(&form);
    assert_eq!(browser.send(login).await.status(), 303);
    browser
}

/// A question as Caddy and Traefik send it.
async fn asks(
    browser: &Browser,
    address: &str,
    original: (&str, &str),
    headers: &[(&str, &str)],
) -> Response {
    let mut request = browser.client.get(format!("{}{address}", browser.origin));
    if !browser.jar.header().is_empty() {
        request = request.header("cookie", browser.jar.header());
    }
    request = request.header("x-forwarded-method", original.0).header("x-forwarded-uri", original.1);
    if !headers.iter().any(|(name, _)| *name == "x-forwarded-host") {
        request = request.header("x-forwarded-host", "localhost:8080");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

const NAVIGATES: (&str, &str) = ("sec-fetch-mode", "navigate");

#[tokio::test]
async fn a_question_is_answered_with_200_401_or_403_only_and_sets_no_cookie() {
    let server = server("");
    let (ada, stranger) = (ada(&server).await, server.browser());
    let script = [("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];
    let foreign = [("sec-fetch-site", "cross-site")];
    for (browser, original, headers, status, leads) in [
        (&ada, ("GET", "/a"), &[NAVIGATES][..], 200, false),
        (&ada, ("POST", "/a"), &script, 200, false),
        (&ada, ("POST", "/a"), &foreign, 403, false),
        (&ada, ("GET", "/a"), &[("sec-websocket-key", "x"), ("sec-fetch-site", "cross-site")], 403, false),
        (&ada, ("GET", "/a"), &[("x-forwarded-host", "evil.example")], 403, false),
        (&ada, ("GET", "/a/../b"), &[], 403, false),
        (&ada, ("GET", "/a%2fb"), &[], 403, false),
        (&ada, ("GET", "a"), &[], 403, false),
        (&stranger, ("GET", "/a"), &[NAVIGATES], 401, true),
        (&stranger, ("HEAD", "/a"), &[NAVIGATES], 401, true),
        (&stranger, ("POST", "/a"), &[NAVIGATES, ("sec-fetch-site", "same-origin")], 401, false),
        (&stranger, ("GET", "/a"), &script, 401, false),
    ] {
        for (address, is_redirect) in [("/auth/verify", false), ("/auth/verify/redirect", true)] {
            let answer = asks(browser, address, original, headers).await;
            let expected = if is_redirect && leads { 302 } else { status };
            assert_eq!(answer.status(), expected, "{address} {original:?} {headers:?}");
            assert_eq!(
                answer.headers().contains_key("location"),
                leads,
                "{address} {original:?} {headers:?}"
            );
            assert_eq!(
                answer.headers().contains_key("remote-user"),
                status == 200,
                "{original:?} {headers:?}"
            );
            assert!(set_cookies(&answer).is_empty());
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
    }
}

#[tokio::test]
async fn the_session_is_read_and_not_renewed_and_only_a_navigation_must_renew_it() {
    let server = server("");
    let ada = ada(&server).await;
    ada.jar.remove(ACCESS);
    server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    let row = || server.sqlite3("SELECT generation, rotated_at FROM sessions");
    let before = row();
    let script = [("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];
    assert_eq!(asks(&ada, "/auth/verify", ("GET", "/a"), &script).await.status(), 200);
    assert_eq!(asks(&ada, "/auth/verify", ("POST", "/a"), &script).await.status(), 200);
    let form = [NAVIGATES, ("sec-fetch-site", "same-origin")];
    assert_eq!(asks(&ada, "/auth/verify", ("POST", "/a"), &form).await.status(), 200);
    let answer = asks(&ada, "/auth/verify", ("GET", "/a?b=c&d"), &[NAVIGATES]).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["location"], "http://localhost:8080/auth/continue?rd=%2Fa%3Fb%3Dc%26d");
    // A link on another site can't be renewed there, so it is served.
    let link = [NAVIGATES, ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")];
    assert_eq!(asks(&ada, "/auth/verify", ("GET", "/a"), &link).await.status(), 200);
    assert_eq!(row(), before, "the check changes nothing");
    // An outdated refresh token ends the session here as everywhere.
    let old = ada.jar.get(REFRESH).unwrap();
    let refresh = |browser: Browser| async move {
        let request = browser.request(Method::POST, "/auth/refresh").header("host", "localhost:8080");
        browser.send(request).await.status().as_u16()
    };
    for _ in 0..2 {
        assert_eq!(refresh(ada.clone()).await, 200);
        server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
    }
    let thief = server.browser();
    thief.jar.set(REFRESH, &old);
    assert_eq!(asks(&thief, "/auth/verify", ("GET", "/a"), &script).await.status(), 401);
    assert_eq!(refresh(ada).await, 401);
}

#[tokio::test]
async fn the_answer_names_the_caller_by_the_chosen_headers_and_has_the_cookies_of_the_app() {
    let server = server("");
    let ada = ada(&server).await;
    ada.jar.set("theme", "dark");
    let asked = async |query: &str| asks(&ada, &format!("/auth/verify{query}"), ("GET", "/a"), &[]).await;
    let answer = asked("").await;
    let headers = answer.headers();
    assert_eq!(
        (&headers["remote-user"], &headers["remote-groups"]),
        (&"1".parse().unwrap(), &"admin".parse().unwrap())
    );
    assert_eq!(headers["cookie"], "theme=dark");
    assert!(["remote-name", "remote-email"].iter().all(|name| headers[*name].is_empty()));
    let answer = asked("?headers=oauth2-proxy").await;
    assert_eq!(answer.headers()["x-forwarded-user"], "1");
    assert!(!answer.headers().contains_key("remote-user"));
    let answer = asked("?audience=reports").await;
    let token = answer.headers()["bulla-token"].to_str().unwrap();
    assert!(server.cli(&["token", "open", token, "--audience", "reports"]).status.success());
    ada.jar.remove("theme");
    assert_eq!(asked("").await.headers()["cookie"], "", "an empty header replaces that of the client");
    for refused in ["?role=boss", "?role=admin&role=boss", "?role=", "?headers=x"] {
        assert_eq!(asked(refused).await.status(), 403, "{refused}");
    }
    assert_eq!(asked("?role=boss,admin").await.status(), 200);
}

#[tokio::test]
async fn only_a_trusted_proxy_may_ask_and_it_must_describe_the_request() {
    let mut untrusting = Server::new(&[]);
    untrusting.start();
    let browser = untrusting.ada().await;
    let answer = asks(&browser, "/auth/verify", ("GET", "/a"), &[]).await;
    assert_eq!(answer.status(), 403);
    eventually("the reason is logged", async || untrusting.stderr().contains("not in trusted_proxies")).await;
    let server = server("");
    let ada = ada(&server).await;
    let client = &ada.client;
    let bare = async |headers: &[(&str, &str)]| {
        let mut request =
            client.get(format!("{}/auth/verify", ada.origin)).header("cookie", ada.jar.header());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let host = ("host", "localhost:8080");
    assert_eq!(bare(&[host]).await, 403);
    assert_eq!(bare(&[host, ("x-original-method", "GET")]).await, 403);
    // What nginx sends with the configuration of contrib/.
    let nginx = [host, ("x-original-method", "GET"), ("x-original-uri", "/a")];
    assert_eq!(bare(&nginx).await, 200);
    let twice =
        [host, ("x-original-method", "GET"), ("x-forwarded-method", "POST"), ("x-original-uri", "/a")];
    assert_eq!(bare(&twice).await, 403);
}

/// Envoy sends the method, the host and the path of the original request; the path follows the prefix.
#[tokio::test]
async fn envoy_asks_with_the_method_and_the_path_of_the_request() {
    let server = server("");
    let ada = ada(&server).await;
    let ask = async |method: Method, target: &str, cookie: bool, headers: &[(&str, &str)]| {
        let address = format!("{}/auth/verify/envoy{target}", ada.origin);
        let mut request = ada.client.request(method, address).header("host", "localhost:8080");
        if cookie {
            request = request.header("cookie", ada.jar.header());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    };
    assert_eq!(ask(Method::GET, "/a?b=c", true, &[]).await.headers()["remote-user"], "1");
    assert_eq!(ask(Method::GET, "", true, &[]).await.status(), 200);
    assert_eq!(ask(Method::POST, "/a", true, &[("sec-fetch-site", "cross-site")]).await.status(), 403);
    assert_eq!(ask(Method::GET, "/a%2fb", true, &[]).await.status(), 403);
    let answer = ask(Method::GET, "/a?role=x", false, &[NAVIGATES]).await;
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "http://localhost:8080/auth/continue?rd=%2Fa%3Frole%3Dx");
    assert_eq!(ask(Method::GET, "/a", false, &[]).await.status(), 401);
}

#[tokio::test]
async fn one_login_serves_several_hosts_and_a_table_says_who_may_enter_each() {
    let mut server = Server::new(&[
        ("BULLA_TRUSTED_PROXIES", "127.0.0.1"),
        ("BULLA_PUBLIC_URL", "https://login.example.org"),
        ("BULLA_COOKIE_DOMAIN", "example.org"),
    ]);
    let tables = "[[site]]\nhost = 'a.example.org'\n[[site]]\nhost = 'b.example.org'\nroles = ['boss']\n\
                  [[site]]\nhost = 'c.example.org'\naccess = 'public'\n";
    server.write_secret("bulla.toml", tables);
    server.start_on("127.0.0.1:0");
    server.origin = format!("http://{}", listening(&server));
    let browser = server.browser();
    let form = [("username", "ada"), ("password", crate::support::server::PASSWORD)];
    let login = browser.request(Method::POST, "/auth/login").header("host", "login.example.org").form(&form);
    assert_eq!(browser.send(login).await.status(), 303);
    let stranger = server.browser();
    let ask = async |browser: &Browser, host: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("x-forwarded-host", host)];
        all.extend(headers);
        asks(browser, "/auth/verify", ("GET", "/x"), &all).await
    };
    assert_eq!(ask(&browser, "a.example.org", &[]).await.status(), 200);
    assert_eq!(ask(&browser, "b.example.org", &[]).await.status(), 403);
    assert_eq!(ask(&browser, "c.example.org", &[]).await.headers()["remote-user"], "1");
    assert_eq!(ask(&stranger, "c.example.org", &[]).await.headers()["remote-user"], "");
    assert_eq!(ask(&browser, "d.example.org", &[]).await.status(), 403);
    let answer = ask(&stranger, "a.example.org", &[NAVIGATES]).await;
    let location = answer.headers()["location"].to_str().unwrap();
    assert_eq!(location, "https://login.example.org/auth/continue?rd=https%3A%2F%2Fa.example.org%2Fx");
    // The login portal leads back to the app.
    let back = browser.request(Method::GET, "/auth/continue?rd=https%3A%2F%2Fa.example.org%2Fx");
    let back =
        browser.send(back.header("host", "login.example.org").header("sec-fetch-mode", "navigate")).await;
    assert_eq!(back.headers()["location"], "https://a.example.org/x");
    // A page on one app can't change another one.
    let cross = [("origin", "https://b.example.org")];
    let mut all = vec![("x-forwarded-host", "a.example.org")];
    all.extend(cross);
    assert_eq!(asks(&browser, "/auth/verify", ("POST", "/x"), &all).await.status(), 403);
    all[1] = ("origin", "https://a.example.org");
    assert_eq!(asks(&browser, "/auth/verify", ("POST", "/x"), &all).await.status(), 200);
}

/// A browser's program may send the token itself; the header is no proof of the page it comes from, so no page is checked.
#[tokio::test]
async fn a_bearer_token_of_a_person_passes() {
    let server = server("");
    let ada = ada(&server).await;
    let token = ada.jar.get(ACCESS).unwrap();
    let request = ada.client.get(format!("{}/auth/verify", ada.origin)).bearer_auth(token);
    let original = [("x-original-method", "POST"), ("x-original-uri", "/a"), ("host", "localhost:8080")];
    let request = original.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    assert_eq!(request.send().await.unwrap().headers()["remote-user"], "1");
}
