//! Guards an axum program, whose people sign in by a form of the program's own. The users are those of Bulla's table.
//!
//! ```text
//! mkdir -p target/axum && cargo build
//! export BULLA_KEYS=target/axum/keys BULLA_DATABASE=target/axum/bulla.db
//! cargo run --example axum &
//! echo 'correct horse battery' | target/debug/bulla user add ada --password-stdin
//! curl -i http://localhost:8080/
//! ```
//!
//! The arguments are the folder of keys and database, and the port; the default is `target/axum 8080`.

use std::{error::Error, net::SocketAddr, path::PathBuf};

use axum::{
    Form, Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, request::Parts},
    middleware::map_request,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use bulla::{Bulla, Principal, Problem, SecretText, SessionCookies, Site, tower::PeerAddress};
use serde::Deserialize;
use tokio::net::TcpListener;

/// For anybody: greets a person who is signed in, and shows the form to everybody else.
async fn home(who: Option<Principal>) -> Html<String> {
    match who {
        Some(who) => Html(format!(
            "<p>Hello {}. <a href='/notes'>Your notes</a><form method='post' action='/logout'><button>Sign out</button></form>",
            who.id()
        )),
        None => Html(form("")),
    }
}

/// The form. `message` is text of this program or of Bulla, never of a request.
fn form(message: &str) -> String {
    format!(
        "<form method='post' action='/login'><p>{message}</p><input name='name' autocomplete='username'>\
         <input name='password' type='password' autocomplete='current-password'><button>Sign in</button></form>"
    )
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: SecretText,
}

/// Checks name and password against Bulla's table, with its throttle, and sets the cookies of the session.
async fn log_in(State(bulla): State<Bulla>, request: Parts, Form(login): Form<Login>) -> Response {
    match bulla.log_in(&login.name, &login.password, &request).await {
        Ok(signed_in) => (signed_in.cookies, Redirect::to("/notes")).into_response(),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Html(form(problem.detail()))).into_response()
        }
    }
}

async fn log_out(State(bulla): State<Bulla>, request: Parts) -> Result<(SessionCookies, Redirect), Problem> {
    Ok((bulla.sign_out(&request).await?, Redirect::to("/")))
}

/// Behind the guard: only for people who are signed in.
async fn notes(who: Principal) -> String {
    format!("The notes of {}\n", who.id())
}

/// Tells Bulla the address of the peer.
async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(PeerAddress(peer.ip()));
    request
}

fn app(bulla: Bulla) -> Router {
    let guarded = Router::new().route("/notes", get(notes)).layer(bulla.guard());
    let for_anybody = Router::new().route("/", get(home)).layer(bulla.guard().optional());
    Router::new()
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .merge(guarded)
        .merge(for_anybody)
        .layer(map_request(peer))
        .with_state(bulla)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let home = PathBuf::from(arguments.next().unwrap_or_else(|| "target/axum".to_owned()));
    let port: u16 = arguments.next().unwrap_or_else(|| "8080".to_owned()).parse()?;
    std::fs::create_dir_all(&home)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let port = listener.local_addr()?.port();

    // Opens the key ring and the database; creates them if they are missing.
    let bulla = Bulla::builder(home.join("keys"), home.join("bulla.db"))
        .site(Site::loopback(port, false))
        .init()
        .start()
        .await?;

    println!("http://localhost:{port}");
    let app = app(bulla).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
