//! Tests that the guard for actix-web and the layer of tower give the same answers to the same requests.

use std::{collections::BTreeMap, net::SocketAddr};

use actix_web::{App, HttpResponse, test, web};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    routing::any,
};
use bulla::{Bulla, Guard, Machine, Principal, Site, tower::PeerAddress};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::support::{
    code_flow::{code, phone, redeem},
    oauth_client::text,
    server::{ACCESS, PASSWORD, REFRESH, Server},
};

/// The parts of an answer that must be the same.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// All headers except cookies, the date and the length.
    headers: BTreeMap<String, Vec<String>>,
    /// The `Set-Cookie` lines, with `…` for tokens and ages.
    cookies: Vec<String>,
    body: String,
}

impl Answer {
    fn new<'a>(status: u16, headers: impl Iterator<Item = (&'a str, &'a [u8])>, body: &[u8]) -> Self {
        let mut answer = Self {
            status,
            headers: BTreeMap::new(),
            cookies: vec![],
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        for (name, value) in headers {
            let value = std::str::from_utf8(value).unwrap();
            match name {
                "date" | "content-length" => {}
                "set-cookie" => answer.cookies.push(masked(value)),
                _ => answer.headers.entry(name.to_owned()).or_default().push(value.to_owned()),
            }
        }
        answer
    }

    /// The status, the code of a problem document if there is one, and the number of cookies.
    fn summary(&self) -> (u16, String, usize) {
        let document: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = document["code"].as_str().unwrap_or_default();
        (self.status, code.to_owned(), self.cookies.len())
    }
}

/// A `Set-Cookie` line without the token and the age. Their lengths must still be right.
fn masked(line: &str) -> String {
    let mut parts = line.split("; ").map(str::to_owned).collect::<Vec<_>>();
    if let Some((name, value)) = parts[0].split_once('=')
        && value.len() > 40
    {
        parts[0] = format!("{name}=…");
    }
    for part in &mut parts {
        if let Some(age) = part.strip_prefix("Max-Age=")
            && age.parse::<u64>().unwrap() > 0
        {
            *part = "Max-Age=…".into();
        }
    }
    parts.join("; ")
}

fn who(person: Option<Principal>, machine: Option<Machine>) -> String {
    match (person, machine) {
        (Some(person), None) => format!("person {} {:?}", person.id(), person.roles()),
        (None, Some(machine)) => format!("machine {}", machine.scope()),
        (None, None) => "nobody".into(),
        (Some(_), Some(_)) => "both".into(),
    }
}

/// A handler's own cookie with the name of a cookie of the session.
const OWN: &str = "__Host-Http-bulla-refresh=own; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax";
/// The media type that axum gives to text.
const TEXT: &str = "text/plain; charset=utf-8";
const CACHED: &str = "public, max-age=600";

/// A request of the table.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    uri: &'static str,
    headers: Vec<(&'static str, Vec<u8>)>,
}

async fn by_actix(guard: Guard, case: &Case) -> Answer {
    let scope = web::scope("")
        .wrap(guard)
        .route(
            "/who",
            web::to(async |person: Option<Principal>, machine: Option<Machine>| who(person, machine)),
        )
        .route("/person", web::to(async |person: Principal| who(Some(person), None)))
        .route("/machine", web::to(async |machine: Machine| who(None, Some(machine))))
        .route(
            "/fails",
            web::to(async || HttpResponse::InternalServerError().content_type(TEXT).body("failed")),
        )
        .route(
            "/cached",
            web::to(async || {
                HttpResponse::Ok().content_type(TEXT).insert_header(("cache-control", CACHED)).body("page")
            }),
        )
        .route(
            "/own",
            web::to(async || {
                HttpResponse::Ok().content_type(TEXT).insert_header(("set-cookie", OWN)).body("own")
            }),
        );
    let app = test::init_service(App::new().service(scope)).await;
    let mut request = test::TestRequest::with_uri(case.uri)
        .method(case.method.parse().unwrap())
        .peer_addr(SocketAddr::from(([10, 0, 0, 1], 1)));
    for (name, value) in &case.headers {
        request = request.append_header((*name, &value[..]));
    }
    let answer = test::call_service(&app, request.to_request()).await;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = test::read_body(answer).await;
    Answer::new(status, headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), &body)
}

async fn by_axum(layer: Guard, case: &Case) -> Answer {
    let mut app = Router::new()
        .route("/who", any(async |person: Option<Principal>, machine: Option<Machine>| who(person, machine)))
        .route("/person", any(async |person: Principal| who(Some(person), None)))
        .route("/machine", any(async |machine: Machine| who(None, Some(machine))))
        .route("/fails", any(async || (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "failed")))
        .route("/cached", any(async || ([("cache-control", CACHED)], "page")))
        .route("/own", any(async || ([("set-cookie", OWN)], "own")))
        .layer(layer);
    let mut request = Request::builder().method(case.method).uri(case.uri);
    for (name, value) in &case.headers {
        request = request.header(*name, &value[..]);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(PeerAddress([10, 0, 0, 1].into()));
    let answer = app.call(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Answer::new(parts.status.as_u16(), headers, &body)
}

/// The installation of the table, and a server that issues its tokens.
struct Installation {
    server: Server,
    bulla: Bulla,
    /// The access tokens that the placeholders in a request stand for.
    tokens: Vec<(&'static str, String)>,
}

impl Installation {
    async fn new() -> Self {
        let server = Server::started(&[("BULLA_SESSION_CAP", "1000")]);
        let (ada, phone) = (server.ada().await, phone(&server));
        let app: Value = redeem(&phone, &code(&server, &phone, &ada).await, &[]).await.json().await.unwrap();
        let machine = server.client("cron", &["--scope", "jobs"]).service().await;
        let login = json!({"username": "ada", "password": PASSWORD, "transport": "body"});
        let person: Value = server.browser().post("/auth/login", login).await.json().await.unwrap();
        let tokens = [("{person}", &person), ("{app}", &app), ("{machine}", &machine)]
            .map(|(name, answer)| (name, text(answer, "access_token").to_owned()));
        let bulla = Bulla::builder(server.path("keys"), server.path("bulla.db"))
            .site(Site::public("https://app.example").trust([([10, 0, 0, 0].into(), 8)]))
            .start()
            .await
            .unwrap();
        Self { server, bulla, tokens: tokens.into() }
    }

    /// A request of the table. Placeholders become tokens; the placeholders of a session get the tokens of a new session.
    async fn case(
        &self,
        (method, uri): (&'static str, &'static str),
        headers: &[(&'static str, &str)],
    ) -> Case {
        let mut tokens = self.tokens.clone();
        if headers.iter().any(|(_, value)| value.contains("{access}") || value.contains("{refresh}")) {
            let ada = self.server.ada().await;
            // A refresh token that was issued a minute ago is replaced.
            self.server.sqlite3("UPDATE sessions SET rotated_at = rotated_at - 61000");
            tokens.push(("{access}", ada.jar.get(ACCESS).unwrap()));
            tokens.push(("{refresh}", ada.jar.get(REFRESH).unwrap()));
        }
        if headers.iter().any(|(_, value)| value.contains("{reused}")) {
            let ada = self.server.ada().await;
            tokens.push(("{reused}", ada.jar.get(REFRESH).unwrap()));
            for _ in 0..3 {
                assert_eq!(ada.post("/auth/refresh", json!({})).await.status(), 200);
            }
        }
        tokens.push(("{A}", ACCESS.into()));
        tokens.push(("{R}", REFRESH.into()));
        let filled = |value: &str| {
            let filled =
                tokens.iter().fold(value.to_owned(), |text, (name, token)| text.replace(name, token));
            // An `é` in the table stands for bytes that are not ASCII.
            filled.replace("é", "\u{fffd}").into_bytes()
        };
        Case { method, uri, headers: headers.iter().map(|(name, value)| (*name, filled(value))).collect() }
    }

    fn guards(&self) -> Vec<(&'static str, Guard, Guard)> {
        let (guard, layer) = (|| self.bulla.guard(), || self.bulla.guard());
        vec![
            ("people", guard(), layer()),
            ("apps", guard().and_apps("read"), layer().and_apps("read")),
            ("other apps", guard().and_apps("other"), layer().and_apps("other")),
            ("machines", guard().and_machines("jobs"), layer().and_machines("jobs")),
            ("other machines", guard().and_machines("other"), layer().and_machines("other")),
            ("optional", guard().optional(), layer().optional()),
            ("administrators", guard().role("admin"), layer().role("admin")),
            ("pilots", guard().role("pilot"), layer().role("pilot")),
            ("optional pilots", guard().role("pilot").optional(), layer().role("pilot").optional()),
        ]
    }
}

const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
const THEIRS: (&str, &str) = ("sec-fetch-site", "cross-site");
const NAVIGATES: (&str, &str) = ("sec-fetch-mode", "navigate");
const BOTH: (&str, &str) = ("cookie", "{A}={access}; {R}={refresh}");
const RENEWS: (&str, &str) = ("cookie", "{R}={refresh}");
/// `ada:correct horse battery`
const BASIC: (&str, &str) = ("authorization", "Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==");

type Line = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Requests for every way through the steps of authentication and the forgery rule.
const REQUESTS: &[Line] = &[
    // Without credentials.
    ("GET", "/who", &[]),
    ("HEAD", "/who", &[]),
    ("POST", "/who", &[]),
    ("GET", "/who?a=b&c=%2F", &[NAVIGATES]),
    ("GET", "/who", &[("accept", "text/html,*/*;q=0.8")]),
    ("POST", "/who", &[NAVIGATES]),
    ("POST", "/who", &[("accept", "text/html"), ("content-type", "application/x-www-form-urlencoded")]),
    ("POST", "/who", &[("origin", "https://evil.example")]),
    // By the access cookie.
    ("GET", "/who", &[BOTH]),
    ("GET", "/who", &[BOTH, THEIRS, NAVIGATES]),
    ("GET", "/who", &[BOTH, ("upgrade", "websocket"), ("connection", "Upgrade"), THEIRS]),
    ("GET", "/who", &[BOTH, ("connection", "keep-alive, Upgrade"), ("origin", "https://app.example")]),
    ("OPTIONS", "/who", &[BOTH, THEIRS]),
    ("TRACE", "/who", &[BOTH, THEIRS]),
    ("PURGE", "/who", &[BOTH, OURS]),
    ("POST", "/who", &[BOTH]),
    ("POST", "/who", &[BOTH, OURS]),
    ("POST", "/who", &[BOTH, ("sec-fetch-site", "none")]),
    ("POST", "/who", &[BOTH, THEIRS]),
    ("POST", "/who", &[BOTH, THEIRS, NAVIGATES]),
    ("POST", "/who", &[BOTH, OURS, THEIRS]),
    ("POST", "/who", &[BOTH, ("origin", "https://app.example")]),
    ("POST", "/who", &[BOTH, ("origin", "https://APP.example")]),
    ("POST", "/who", &[BOTH, ("origin", "https://evil.example")]),
    ("POST", "/who", &[BOTH, ("origin", "null")]),
    ("GET", "/who", &[("cookie", "a=b;{A}=\"{access}\""), ("cookie", "c=é; x")]),
    ("GET", "/who", &[("cookie", "a=é; {A}={access}; {A}={access}")]),
    ("GET", "/who", &[("cookie", "{A}={access}; {A}=other")]),
    ("GET", "/who", &[("cookie", "{A}=damaged")]),
    ("GET", "/who", &[("cookie", "{A}=é")]),
    ("GET", "/person", &[BOTH]),
    ("GET", "/machine", &[BOTH]),
    ("GET", "/cached", &[BOTH]),
    // By the refresh cookie.
    ("GET", "/who", &[RENEWS]),
    ("GET", "/who", &[RENEWS, OURS]),
    ("GET", "/who", &[RENEWS, ("sec-fetch-site", "same-site")]),
    ("GET", "/who", &[RENEWS, THEIRS]),
    ("GET", "/who?a", &[RENEWS, THEIRS, NAVIGATES]),
    ("GET", "/who?a", &[RENEWS, THEIRS, NAVIGATES, ("sec-fetch-dest", "iframe")]),
    (
        "GET",
        "/who?a",
        &[RENEWS, THEIRS, NAVIGATES, ("referer", "https://app.example/who?a"), ("host", "app.example")],
    ),
    ("GET", "//evil.example/who", &[RENEWS, THEIRS, NAVIGATES]),
    ("POST", "/who", &[RENEWS, OURS]),
    ("POST", "/who", &[RENEWS, THEIRS]),
    ("GET", "/who", &[("cookie", "{A}=damaged; {R}={refresh}")]),
    ("GET", "/who", &[("cookie", "{R}={refresh}; {R}=other")]),
    ("GET", "/who", &[("cookie", "{R}=damaged")]),
    ("GET", "/who", &[("cookie", "{R}={reused}")]),
    ("GET", "/fails", &[RENEWS]),
    ("GET", "/cached", &[RENEWS]),
    ("GET", "/own", &[RENEWS]),
    ("GET", "/machine", &[RENEWS]),
    // By the `Authorization` header.
    ("GET", "/who", &[("authorization", "Bearer {person}")]),
    ("POST", "/who", &[("authorization", "bearer {person}"), THEIRS]),
    ("GET", "/who", &[("authorization", "Bearer {app}")]),
    ("POST", "/who", &[("authorization", "Bearer {app}")]),
    ("GET", "/who", &[("authorization", "Bearer {app}"), NAVIGATES]),
    ("GET", "/who", &[("authorization", "Bearer {machine}")]),
    ("GET", "/machine", &[("authorization", "Bearer {machine}")]),
    ("GET", "/person", &[("authorization", "Bearer {machine}")]),
    ("GET", "/who", &[("authorization", "Bearer damaged"), BOTH]),
    ("GET", "/who", &[("authorization", "Bearer a.b.c")]),
    ("GET", "/who", &[("authorization", "Bearer {person}"), ("authorization", "Bearer {person}")]),
    ("GET", "/who", &[("authorization", "Bearer {person},x")]),
    ("GET", "/who", &[("authorization", "Bearer é")]),
    ("GET", "/who", &[("authorization", "Digest x")]),
    ("GET", "/who", &[("authorization", "")]),
    ("GET", "/who", &[BASIC]),
    ("GET", "/fails", &[BASIC]),
    ("GET", "/who", &[BASIC, OURS]),
];

#[actix_web::test]
async fn actix_web_and_tower_answer_alike() {
    let installation = Installation::new().await;
    let mut passed = 0;
    for (name, guard, layer) in installation.guards() {
        for (method, uri, headers) in REQUESTS {
            let actix = by_actix(guard.clone(), &installation.case((method, uri), headers).await).await;
            let mut axum = by_axum(layer.clone(), &installation.case((method, uri), headers).await).await;
            // The router of axum removes the body for HEAD, as the server of actix-web does.
            if *method == "HEAD" {
                axum.body.clone_from(&actix.body);
            }
            assert_eq!(axum, actix, "{name}: {method} {uri} {headers:?}");
            passed += usize::from(actix.status == 200);
        }
    }
    assert!(passed > 100, "only {passed} requests were admitted");
}

#[actix_web::test]
async fn each_step_of_the_guard_answers_as_designed_in_both_adapters() {
    let installation = Installation::new().await;
    let expected: [(Line, (u16, &str, usize)); 12] = [
        (("GET", "/who", &[]), (401, "unauthorized", 0)),
        (("GET", "/who", &[BOTH]), (200, "", 0)),
        (("POST", "/who", &[BOTH, THEIRS]), (403, "foreign_origin", 0)),
        (("GET", "/who", &[RENEWS]), (200, "", 2)),
        (("GET", "/who", &[RENEWS, THEIRS]), (401, "unauthorized", 0)),
        (("GET", "/fails", &[RENEWS]), (500, "", 2)),
        (("GET", "/own", &[RENEWS]), (200, "", 2)),
        (("GET", "/who", &[("authorization", "Bearer {app}")]), (403, "program_not_admitted", 0)),
        (("GET", "/who", &[("authorization", "Bearer {machine}")]), (401, "unauthorized", 0)),
        (("GET", "/who", &[("authorization", "")]), (400, "bad_authorization", 0)),
        (("GET", "/who", &[BASIC]), (200, "", 2)),
        (("GET", "/who", &[("authorization", "Basic YWRhOndyb25n")]), (401, "wrong_credentials", 0)),
    ];
    let (guard, layer) = (installation.bulla.guard(), installation.bulla.guard());
    for ((method, uri, headers), (status, code, cookies)) in expected {
        let actix = by_actix(guard.clone(), &installation.case((method, uri), headers).await).await;
        let axum = by_axum(layer.clone(), &installation.case((method, uri), headers).await).await;
        for answer in [actix, axum] {
            assert_eq!(answer.summary(), (status, code.to_owned(), cookies), "{method} {uri} {headers:?}");
            if uri == "/own" {
                let refresh = answer.cookies.iter().filter(|line| line.starts_with(REFRESH));
                assert_eq!(refresh.collect::<Vec<_>>(), [OWN.replace("=60", "=…").as_str()]);
            }
        }
    }
}
