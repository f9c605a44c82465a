//! Measures the cost of a guard: one handler, bare and behind several guards, over real HTTP on loopback.
//!
//! `guard` alone runs everything: for each variant it starts `guard serve VARIANT` on one core and `wrk` on another, in
//! alternating rounds. It prints the requests per second and the ratio to the bare handler. Every variant receives the same
//! request, which has the cookies of all variants.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, ExitCode, Stdio},
};

use actix_session::{
    Session, SessionExt, SessionMiddleware, config::CookieContentSecurity, storage::CookieSessionStore,
};
use actix_web::{
    App, HttpResponse, HttpServer,
    body::MessageBody,
    cookie::{Cookie, Key},
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web,
};
use bulla::internals::{
    clock::{Clock, SystemClock},
    http::{Bulla, Site},
    keyring::{KeyDirectory, Suite},
};
use bulla_bench::{access_cookie, median, table};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

const BARE: &str = "bare";
const VARIANTS: [(&str, &str); 5] = [
    (BARE, "bare actix-web handler"),
    ("x", "Bulla, suite X"),
    ("a", "Bulla, suite A"),
    ("session", "actix-session, CookieSessionStore"),
    ("jwt", "JWT HS256 in a cookie"),
];
// Many short rounds. Other load on the machine lasts for seconds, so it affects either a whole round or only a few rounds.
const ROUNDS: usize = 21;
const SECONDS: &str = "1";
const CONNECTIONS: &str = "32";
const JWT_SECRET: [u8; 32] = [7; 32];

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    id: String,
    sid: String,
    roles: Vec<String>,
    exp: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => drive(),
        ["serve", variant] => serve(variant),
        _ => {
            eprintln!("usage: guard [serve VARIANT]");
            ExitCode::from(2)
        }
    }
}

/// Runs all variants in turn and prints the table.
fn drive() -> ExitCode {
    let mut runs = vec![Vec::new(); VARIANTS.len()];
    for round in 0..ROUNDS {
        for (i, (variant, _)) in VARIANTS.iter().enumerate() {
            let mut server = Server::start(variant);
            runs[i].push(load(&server.line));
            server.stop();
            eprint!("\rround {} of {ROUNDS}, {variant:<10}", round + 1);
        }
    }
    eprintln!();
    let medians: Vec<f64> = runs.iter().map(|runs| median(runs)).collect();
    // The median of the ratios of each round: a slow period of the machine affects both sides of a ratio.
    let ratios: Vec<f64> = runs
        .iter()
        .map(|run| median(&run.iter().zip(&runs[0]).map(|(one, bare)| one / bare).collect::<Vec<_>>()))
        .collect();
    let rows: Vec<Vec<String>> = VARIANTS
        .iter()
        .zip(medians.iter().zip(&ratios))
        .map(|((_, name), (median, ratio))| {
            vec![(*name).to_owned(), table::thousands(*median), format!("{ratio:.3}")]
        })
        .collect();
    println!(
        "Requests per second on one core, {CONNECTIONS} connections, median of {ROUNDS} rounds of {SECONDS} s; \
         each ratio is the median of the ratios of the rounds\n"
    );
    table::print(&["", "requests/s", "of bare"], &rows);
    println!();
    let kept = [
        table::verdict("guarded / bare, suite X", ratios[1], 0.90, false),
        table::verdict("guarded / bare, suite A", ratios[2], 0.90, false),
    ];
    if kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The server of a variant, in its own process on its own core.
struct Server {
    child: Child,
    /// `PORT COOKIES`, as the server printed it.
    line: String,
}

impl Server {
    fn start(variant: &str) -> Self {
        let this = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(this)
            .args(["serve", variant])
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) starts the server");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("the server says where it listens");
        Self { child, line: line.trim_end().to_owned() }
    }

    fn stop(&mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("it ends");
    }
}

/// Returns the requests per second that `wrk` has counted; panics on any answer but 2xx.
fn load(line: &str) -> f64 {
    let (port, cookies) = line.split_once(' ').expect("PORT COOKIES");
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t", "1", "-c", CONNECTIONS, "-d"])
        .arg(format!("{SECONDS}s"))
        .args(["-H", "Accept: application/json", "-H", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench"])
        .args([
            "-H",
            "Accept-Language: en",
            "-H",
            "Sec-Fetch-Site: same-origin",
            "-H",
            "Sec-Fetch-Mode: cors",
        ])
        .arg("-H")
        .arg(format!("Cookie: {cookies}"))
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()
        .expect("wrk (Debian package wrk) runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "the guard refused: {text}");
    let figure = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    figure.and_then(|figure| figure.trim().parse().ok()).unwrap_or_else(|| panic!("wrk says: {text}"))
}

/// The handler that every variant serves.
async fn hello() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"hello":"world"}"#)
}

#[actix_web::main]
async fn serve(variant: &str) -> ExitCode {
    let key = Key::from(&[7; 64]);
    let suite = if variant == "a" { Suite::Aes256Gcm } else { Suite::Xaes256Gcm };
    let folder = tempfile::tempdir().expect("a folder");
    let bulla = bulla(&folder, suite).await;
    let cookies = [session_cookie(&key).await, jwt_cookie(), access_cookie(&bulla).await].join("; ");
    let announce = |port: u16| {
        println!("{port} {cookies}");
        std::io::stdout().flush().expect("stdout is open");
    };
    macro_rules! run {
        ($app:expr) => {{
            let server =
                HttpServer::new(move || $app).workers(1).bind(("127.0.0.1", 0)).expect("a free port");
            announce(server.addrs()[0].port());
            server.run().await.expect("it serves");
        }};
    }
    match variant {
        BARE => run!(App::new().route("/", web::get().to(hello))),
        "x" | "a" => run!(App::new().wrap(bulla.guard()).route("/", web::get().to(hello))),
        "session" => run!({
            let sessions = session_middleware(key.clone());
            App::new().wrap(from_fn(require_session)).wrap(sessions).route("/", web::get().to(hello))
        }),
        "jwt" => run!(App::new().wrap(from_fn(require_jwt)).route("/", web::get().to(hello))),
        _ => {
            eprintln!("no variant {variant}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn session_middleware(key: Key) -> SessionMiddleware<CookieSessionStore> {
    SessionMiddleware::builder(CookieSessionStore::default(), key)
        .cookie_content_security(CookieContentSecurity::Private)
        .build()
}

async fn require_session<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    match request.get_session().get::<String>("id") {
        Ok(Some(_)) => next.call(request).await,
        _ => Err(actix_web::error::ErrorUnauthorized("no session")),
    }
}

async fn require_jwt<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    thread_local! {
        static OPEN: (DecodingKey, Validation) = (DecodingKey::from_secret(&JWT_SECRET), Validation::default());
    }
    let token = request.cookie("jwt");
    let good = token.is_some_and(|token| {
        OPEN.with(|(key, validation)| jsonwebtoken::decode::<Claims>(token.value(), key, validation).is_ok())
    });
    if good { next.call(request).await } else { Err(actix_web::error::ErrorUnauthorized("no token")) }
}

/// Returns a session cookie that actix-session's middleware has made.
async fn session_cookie(key: &Key) -> String {
    async fn login(session: Session) -> HttpResponse {
        session.insert("id", "42").expect("a string is JSON");
        session.insert("roles", ["reader", "editor"]).expect("strings are JSON");
        HttpResponse::Ok().finish()
    }
    let app = App::new().wrap(session_middleware(key.clone())).route("/", web::get().to(login));
    let service = actix_web::test::init_service(app).await;
    let request = actix_web::test::TestRequest::get().uri("/").to_request();
    let answer = actix_web::test::call_service(&service, request).await;
    let cookie = answer.response().cookies().next().expect("a session's cookie");
    Cookie::new(cookie.name(), cookie.value()).to_string()
}

/// Starts a new installation. Every variant runs one, so that the variants differ only in the guard.
async fn bulla(folder: &tempfile::TempDir, suite: Suite) -> Bulla {
    let keys = folder.path().join("keys");
    KeyDirectory::new(&keys).init_at(suite, SystemClock.now()).expect("a ring");
    Bulla::builder(keys, folder.path().join("bulla.db"))
        .site(Site::loopback(8080, false))
        .start()
        .await
        .expect("it starts")
}

fn jwt_cookie() -> String {
    let claims = Claims {
        id: "42".to_owned(),
        sid: "Zt3kq9fLx0aVbN7uYh2mQw".to_owned(),
        roles: vec!["reader".to_owned(), "editor".to_owned()],
        exp: 4_102_444_800,
    };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&JWT_SECRET));
    format!("jwt={}", token.expect("signs"))
}
