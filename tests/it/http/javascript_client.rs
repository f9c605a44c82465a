//! Tests `clients/javascript` in a real browser.
//!
//! Its session.js runs in several tabs: one renewal serves all tabs, and all tabs are told when the session has ended. The
//! application hosts Bulla's routes and has a resource that accepts only the access cookie.

use std::{
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, ContentType},
    middleware::{Next, from_fn},
    web,
};
use bulla::internals::{
    clock::{Clock as _, SystemClock},
    http::{Bulla, Site},
    ids::{Audience, Purpose},
    keyring::KeyDirectory,
    token::{KeyExport, OpenBuffer, SealCounts, TokenKeys},
};

use crate::support::{
    chromium::Chromium,
    installation::secs,
    server::{ACCESS, Server, eventually},
};

const PAGE: &str = r#"<!doctype html><title>page</title><script type="module">
    import { session } from "/client/session.js";
    Object.assign(window, { said: [], ended: 0, heard: 0 });
    const { fetch, logout } = session({ ended: () => window.ended++ });
    // Hears what the helper heard before it.
    new BroadcastChannel("bulla").onmessage = () => window.heard++;
    window.asks = async (path) => {
        const answer = await fetch(path, { method: "POST", body: "a body" });
        said.push(`${answer.status} ${await answer.text()}`);
    };
    window.leaves = async () => said.push(`${(await logout()).status}`);
</script>"#;

/// The counters of the application, and its switches.
#[derive(Default)]
struct Desk {
    renewals: AtomicUsize,
    refusals: AtomicUsize,
    /// A renewal begins only after this many requests have been refused.
    awaited: AtomicUsize,
    /// Renewals are answered with 503.
    away: AtomicBool,
    /// `/slow` may answer.
    open: AtomicBool,
}

/// Three tabs with the page, in the browser of a person who is logged in.
struct Tabs {
    person: Chromium,
    desk: web::Data<Desk>,
    installation: Server,
}

impl Tabs {
    async fn open() -> Option<Self> {
        let (installation, desk) = (Server::new(&[]), web::Data::new(Desk::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bulla = Bulla::builder(installation.path("keys"), installation.path("bulla.db"))
            .site(Site::loopback(port, false))
            .start()
            .await
            .unwrap();
        let ring = KeyDirectory::new(installation.path("keys")).load().unwrap();
        let keys =
            TokenKeys::derive_counted(&ring, &Purpose::access(), &Audience::own(), &SealCounts::default());
        let (keys, shared) = (web::Data::new(keys), desk.clone());
        let application = HttpServer::new(move || {
            App::new()
                .app_data(keys.clone())
                .app_data(shared.clone())
                .wrap(from_fn(watch))
                .configure(bulla.routes())
                .route(
                    "/page",
                    web::get()
                        .to(|| async { HttpResponse::Ok().content_type(ContentType::html()).body(PAGE) }),
                )
                .route("/client/{file}", web::get().to(script))
                .route("/{resource}", web::post().to(resource))
        });
        tokio::spawn(application.workers(1).disable_signals().listen(listener).unwrap().run());

        let person = Chromium::start(&format!("http://localhost:{port}")).await?;
        person.logs_in("ada").await;
        person.goes_to("/page").await;
        person.opens_tabs(2, "/page").await;
        Some(Self { person, desk, installation })
    }

    /// Runs JavaScript in each tab at once.
    async fn each(&self, deed: &str) {
        self.person.runs(&format!("for (const tab of [window, ...tabs]) tab.{deed}")).await;
    }

    /// Waits until a value of every tab, this tab first, is as expected.
    async fn come_to(&self, value: &str, expected: &str) {
        let script = format!("return JSON.stringify([window, ...tabs].map((tab) => tab.{value}))");
        eventually(&format!("{value} is {expected}"), || async {
            self.person.runs(&script).await == expected
        })
        .await;
    }

    fn renewals(&self) -> usize {
        self.desk.renewals.load(SeqCst)
    }
}

async fn watch(
    desk: web::Data<Desk>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if request.path() == "/auth/refresh" {
        desk.renewals.fetch_add(1, SeqCst);
        eventually("all are refused", || async { desk.refusals.load(SeqCst) >= desk.awaited.load(SeqCst) })
            .await;
        if desk.away.load(SeqCst) {
            return Ok(request.into_response(HttpResponse::ServiceUnavailable().finish()));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

async fn script(file: web::Path<String>) -> HttpResponse {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/javascript/src").join(file.as_str());
    HttpResponse::Ok().content_type("text/javascript").body(std::fs::read_to_string(file).unwrap())
}

/// Answers with the body of the request if it has a valid access cookie.
async fn resource(
    request: HttpRequest,
    body: String,
    desk: web::Data<Desk>,
    keys: web::Data<TokenKeys>,
) -> HttpResponse {
    let cookies = request.headers().get(header::COOKIE).map_or("", |value| value.to_str().unwrap());
    let token = cookies.split("; ").find_map(|cookie| cookie.strip_prefix(ACCESS)?.strip_prefix('='));
    let opens = |token| keys.open_at(token, SystemClock.now(), secs(120), &mut OpenBuffer::new()).is_ok();
    if token.is_some_and(opens) {
        return HttpResponse::Ok().body(body);
    }
    desk.refusals.fetch_add(1, SeqCst);
    if request.path() == "/slow" {
        eventually("the slow one is let go", || async { desk.open.load(SeqCst) }).await;
    }
    HttpResponse::Unauthorized().body("no")
}

#[tokio::test]
async fn one_renewal_serves_every_tab() {
    let Some(tabs) = Tabs::open().await else { return };
    tabs.each("asks('/invoices')").await;
    tabs.come_to("said", r#"[["200 a body"],["200 a body"],["200 a body"]]"#).await;
    assert_eq!(tabs.renewals(), 0, "nothing was to be renewed");

    tabs.person.loses_cookie(ACCESS).await;
    tabs.desk.awaited.store(3, SeqCst);
    tabs.each("asks('/invoices')").await;
    let twice = r#"["200 a body","200 a body"]"#;
    tabs.come_to("said", &format!("[{twice},{twice},{twice}]")).await;
    assert_eq!((tabs.renewals(), tabs.desk.refusals.load(SeqCst)), (1, 3));
    tabs.come_to("ended", "[0,0,0]").await;
}

#[tokio::test]
async fn a_late_refusal_causes_no_second_renewal() {
    let Some(tabs) = Tabs::open().await else { return };
    tabs.person.loses_cookie(ACCESS).await;
    tabs.desk.awaited.store(2, SeqCst);
    tabs.person.runs("tabs[0].asks('/slow'); asks('/invoices')").await;
    tabs.come_to("said", r#"[["200 a body"],[],[]]"#).await;
    tabs.come_to("heard", "[1,1,1]").await;
    tabs.desk.open.store(true, SeqCst);
    tabs.come_to("said", r#"[["200 a body"],["200 a body"],[]]"#).await;
    assert_eq!(tabs.renewals(), 1);
}

#[tokio::test]
async fn every_tab_is_told_when_the_session_has_ended() {
    let Some(tabs) = Tabs::open().await else { return };
    tabs.person.loses_cookie(ACCESS).await;
    tabs.desk.away.store(true, SeqCst);
    tabs.person.runs("asks('/invoices')").await;
    tabs.come_to("said", r#"[["401 no"],[],[]]"#).await;
    tabs.come_to("ended", "[0,0,0]").await;

    tabs.desk.away.store(false, SeqCst);
    tabs.installation.sqlite3("DELETE FROM sessions");
    tabs.person.runs("asks('/invoices')").await;
    tabs.come_to("said", r#"[["401 no","401 no"],[],[]]"#).await;
    tabs.come_to("ended", "[1,1,1]").await;

    tabs.person.logs_in("ada").await;
    tabs.person.goes_to("/page").await;
    tabs.person.opens_tabs(1, "/page").await;
    tabs.person.runs("tabs[0].leaves()").await;
    tabs.come_to("said", r#"[[],["204"]]"#).await;
    tabs.come_to("ended", "[1,1]").await;
    assert!(tabs.person.cookie(ACCESS).await.is_none());
}

#[tokio::test]
async fn a_browser_opens_tokens_of_the_core_and_seals_tokens_for_it() {
    let Some(tabs) = Tabs::open().await else { return };
    let ring = KeyDirectory::new(tabs.installation.path("keys")).load().unwrap();
    let export = KeyExport::new(&ring, &Purpose::access(), &Audience::new("billing").unwrap(), secs(120));
    let (keys, mut buffer) = (export.keys(), OpenBuffer::new());
    let payload = r#"{"id":"42","name":"Ада 😀"}"#;
    let token = keys.seal_at(payload, SystemClock.now()).unwrap();
    let script = format!(
        r#"(async () => {{
            const {{ Keys }} = await import("/client/index.js");
            const keys = await Keys.parse({:?});
            const {{ text }} = await keys.open({:?});
            said.push(text, await keys.seal(text), await keys.open("").catch((error) => error.message));
        }})()"#,
        export.to_json().expose(),
        token.as_str()
    );
    tabs.person.runs(&script).await;
    tabs.come_to("said.length", "[3,0,0]").await;
    let said = tabs.person.runs("return said").await;
    assert_eq!((&said[0], &said[2]), (&payload.into(), &"token refused".into()));
    let opened = keys.open_at(said[1].as_str().unwrap(), SystemClock.now(), secs(120), &mut buffer);
    assert_eq!(opened.unwrap().payload, payload);
}
