//! Runs the eight steps A to H of RFC 6749's figure 2, "Refreshing an Expired Access Token", between three processes: an
//! authorization server (Bulla), a resource server that has only the key of its audience, and a client.
//!
//! ```text
//! cargo run --example eight_steps
//! ```

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulla::internals::{
    clock::{Clock as _, SystemClock},
    http::{Bulla, Serve, Site, serve},
    ids::{Audience, Purpose},
    oauth::registration::Registration,
    secret::{Secret, SecretText},
    session::Policy,
    store::{Actor, AuditEvent, Event, NewUser},
    token::{KeyExport, OpenBuffer, TokenKeys},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

type Done<T = ()> = Result<T, Box<dyn Error>>;

const AUDIENCE: &str = "notes";
const BACK: &str = "http://127.0.0.1/back";
/// A short lifetime, so that a token expires while the example runs.
const LIFE: Duration = Duration::from_secs(2);

#[actix_web::main]
async fn main() -> Done {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1..).unwrap_or_default() {
        [role, home] if role == "authorization-server" => authorization_server(Path::new(home)).await,
        [role, home] if role == "resource-server" => resource_server(Path::new(home)).await,
        _ => client().await,
    }
}

/// Runs Bulla with a user and with a client that may request tokens for the audience; writes the audience's key to a file.
async fn authorization_server(home: &Path) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let site = Site::loopback(listener.local_addr()?.port(), false);
    let origin = site.origin().to_owned();
    let policy = Policy { access_max_age: LIFE, replay_window: LIFE / 4, ..Policy::default() };
    let bulla = Bulla::builder(home.join("keys"), home.join("bulla.db").as_path());
    let bulla = bulla.site(site).policy(policy).init().start().await?;

    let parts = bulla.sessions().parts();
    let hash = bulla.hasher().hash(&SecretText::new("correct horse battery".to_owned())).await?;
    let ada = NewUser { name: "ada".to_owned(), password_hash: Some(hash), ..NewUser::default() };
    parts.store.add_user(ada, AuditEvent::new(Event::UserAdded, Actor::System, "")).await?;
    let (app, _) = Registration {
        name: "notepad".to_owned(),
        scopes: vec!["read".to_owned()],
        audiences: vec![AUDIENCE.to_owned()],
        redirect_uris: vec![BACK.to_owned()],
        public: true,
        ..Registration::default()
    }
    .client()?;
    let app = parts.store.add_client(app, AuditEvent::new(Event::ClientAdded, Actor::System, "")).await?;

    // The equivalent of `bulla keys export --audience notes`.
    let export = KeyExport::new(&parts.tokens.ring(), &Purpose::access(), &Audience::new(AUDIENCE)?, LIFE);
    let mut private = std::fs::OpenOptions::new();
    let mut file =
        private.write(true).create(true).truncate(true).mode(0o600).open(home.join("notes.json"))?;
    std::io::Write::write_all(&mut file, export.to_json().expose().as_bytes())?;

    println!("{}", json!({"origin": origin, "client_id": app.id.as_str()}));
    let how = Serve {
        workers: 1,
        shutdown_timeout: Duration::from_secs(1),
        tls: None,
        admin: None,
        upstreams: Vec::new(),
    };
    let server = serve(&bulla, listener, how)?;
    until_left_alone(server.handle());
    Ok(server.await?)
}

/// Opens tokens with its own key, without a request to the authorization server.
async fn resource_server(home: &Path) -> Done {
    let export = KeyExport::from_json(&std::fs::read_to_string(home.join("notes.json"))?)?;
    let notes = web::Data::new((export.keys(), export.max_age()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", json!({"origin": format!("http://{}", listener.local_addr()?)}));
    let server =
        HttpServer::new(move || App::new().app_data(notes.clone()).route("/note", web::get().to(note)));
    let server = server.workers(1).disable_signals().listen(listener)?.run();
    until_left_alone(server.handle());
    Ok(server.await?)
}

async fn note(request: HttpRequest, notes: web::Data<(TokenKeys, Duration)>) -> HttpResponse {
    let (keys, max_age) = notes.get_ref();
    let header = request.headers().get("authorization").and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    match keys.open_at(token, SystemClock.now(), *max_age, &mut OpenBuffer::new()) {
        Ok(opened) => HttpResponse::Ok().body(format!("a note for {}", opened.payload)),
        Err(_) => HttpResponse::Unauthorized()
            .insert_header(("WWW-Authenticate", r#"Bearer error="invalid_token""#))
            .finish(),
    }
}

/// Stops the server when standard input closes, which happens when the parent process ends.
fn until_left_alone(server: actix_web::dev::ServerHandle) {
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(server.stop(false));
    });
}

/// Starts a process in a role; returns the process and the line that it has printed.
fn start(role: &str, home: &Path) -> Done<(Child, Value)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command
        .args([role.as_ref(), home.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    Ok((child, serde_json::from_str(&line)?))
}

fn text<'a>(value: &'a Value, name: &str) -> Done<&'a str> {
    value[name].as_str().ok_or_else(|| format!("no {name} in {value}").into())
}

struct Notepad {
    http: reqwest::Client,
    server: String,
    id: String,
}

impl Notepad {
    async fn token(&self, form: &[(&str, &str)]) -> Done<Value> {
        let form = [form, &[("client_id", self.id.as_str())]].concat();
        let answer = self.http.post(format!("{}/oauth/token", self.server)).form(&form).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Exchanges a token for the authorization server for a token for the resource server (RFC 8693).
    async fn for_notes(&self, token: &str) -> Done<String> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", token),
            ("audience", AUDIENCE),
        ];
        Ok(text(&self.token(&form).await?, "access_token")?.to_owned())
    }

    /// Does what a browser does: logs in and returns the authorization code from the redirect.
    async fn code(&self, challenge: &str) -> Done<String> {
        let login = json!({"username": "ada", "password": "correct horse battery"});
        let login = self.http.post(format!("{}/auth/login", self.server)).json(&login).send().await?;
        let cookies = login
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|line| line.to_str().ok()?.split(';').next());
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let mut at = format!(
            "{}/oauth/authorize?response_type=code&client_id={}&redirect_uri={BACK}&code_challenge={challenge}&code_challenge_method=S256",
            self.server, self.id
        );
        while !at.starts_with(BACK) {
            let answer = self.http.get(&at).header("cookie", &cookies).send().await?;
            let to = answer.headers().get("location").ok_or("no way back")?.to_str()?;
            at = if to.starts_with('/') { format!("{}{to}", self.server) } else { to.to_owned() };
        }
        let code = at.split(['?', '&']).find_map(|pair| pair.strip_prefix("code="));
        Ok(code.ok_or("no code")?.to_owned())
    }
}

async fn client() -> Done {
    let home = PathBuf::from("target/eight_steps").join(std::process::id().to_string());
    std::fs::create_dir_all(&home)?;
    let (mut authorization, about) = start("authorization-server", &home)?;
    let (mut resource, notes) = start("resource-server", &home)?;
    let walked = walk(&about, &notes).await;
    for server in [&mut authorization, &mut resource] {
        drop(server.stdin.take());
        server.wait()?;
    }
    std::fs::remove_dir_all(&home)?;
    walked
}

async fn walk(about: &Value, notes: &Value) -> Done {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let app =
        Notepad { http, server: text(about, "origin")?.to_owned(), id: text(about, "client_id")?.to_owned() };
    let note = format!("{}/note", text(notes, "origin")?);
    let ask = async |token: &str| app.http.get(&note).bearer_auth(token).send().await;

    let verifier = Secret::<32>::generate()?.to_base64url();
    let code = app.code(&URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))).await?;
    println!("A  the client presents its authorization grant: a code, and the verifier of the code");
    let grant = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", BACK),
        ("code_verifier", &verifier),
    ];
    let tokens = app.token(&grant).await?;
    let refresh = text(&tokens, "refresh_token")?;
    let mut access = app.for_notes(text(&tokens, "access_token")?).await?;
    println!("B  the client gets an access token for the audience {AUDIENCE}, and a refresh token");
    println!("C  the client presents the access token to the resource server");
    let answer = ask(&access).await?.error_for_status()?;
    println!("D  the resource server opens it with its own key, and answers: {}", answer.text().await?);
    println!("E  the client presents the access token again, until it has expired");
    let answer = loop {
        let answer = ask(&access).await?;
        if answer.status() != 200 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let why = answer.headers().get("www-authenticate").ok_or("no reason")?.to_str()?;
    println!("F  the resource server refuses it: {} {why}", answer.status().as_u16());
    println!("G  the client presents its refresh token to the authorization server");
    let tokens = app.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await?;
    access = app.for_notes(text(&tokens, "access_token")?).await?;
    let rotated = text(&tokens, "refresh_token")? != refresh;
    println!("H  the client gets a new access token, and a new refresh token: {rotated}");
    ask(&access).await?.error_for_status()?;
    println!("   the resource server accepts the new access token");
    Ok(())
}
