//! A simulated internet for the providers: one TLS server with the host names of all of them, and a proxy that leads there.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The host names of the simulated servers.
const HOSTS: [&str; 12] = [
    "accounts.google.com",
    "oauth2.googleapis.com",
    "www.googleapis.com",
    "www.facebook.com",
    "graph.facebook.com",
    "cognito-idp.eu-central-1.amazonaws.com",
    "shop.auth.eu-central-1.amazoncognito.com",
    "dev-1.okta.com",
    "oauth.id.jumpcloud.com",
    "login.example.org",
    "other.example.org",
    "keys.example.net",
];

/// A certificate for all these names, created once.
static CERTIFICATE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    let names: Vec<String> = HOSTS.iter().map(|host| format!("DNS:{host}")).collect();
    let config = format!(
        "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n[name]\nCN = stand-ins\n\
         [extensions]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = {}\n",
        names.join(",")
    );
    std::fs::write(folder.join("config"), config).unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-config", "config", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&folder)
        .output()
        .expect("openssl is installed by scripts/test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
});

/// A request that the simulated server has received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Host and path of the URL.
    pub place: String,
    pub query: BTreeMap<String, String>,
    pub form: BTreeMap<String, String>,
    pub authorization: Option<String>,
}

/// An answer of the simulated server.
pub enum Reply {
    Json(Value),
    /// An answer with another `Date` header.
    Dated(Value, &'static str),
    Error(u16, Value),
    Redirect(String),
    Bytes(Vec<u8>),
    /// An answer that comes too late, after eight seconds.
    Late(Value),
}

type Place = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

#[derive(Default)]
struct Map {
    places: Mutex<BTreeMap<String, Place>>,
    asked: Mutex<Vec<Received>>,
}

/// All simulated servers. A URL without a registered answer is answered by 404.
#[derive(Clone)]
pub struct Internet {
    map: Arc<Map>,
    proxy: SocketAddr,
}

impl Internet {
    pub fn new() -> Self {
        let map = Arc::<Map>::default();
        let tls = serve(Arc::clone(&map));
        Self { map, proxy: proxy(tls) }
    }

    /// The environment variables with which a program uses the simulated servers.
    pub fn environment(&self) -> Vec<(String, String)> {
        let certificate = CERTIFICATE.join("cert.pem").display().to_string();
        [
            ("HTTPS_PROXY", format!("http://{}", self.proxy)),
            ("NO_PROXY", String::new()),
            ("SSL_CERT_FILE", certificate),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Serves the same answers over plain HTTP on loopback, for programs without a proxy; returns the base URL.
    pub fn plain(&self) -> String {
        let (listener, map) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::clone(&self.map));
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                App::new().app_data(web::Data::new(Arc::clone(&map))).default_service(web::to(answer))
            });
            let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
            actix_web::rt::System::new().block_on(server).unwrap();
        });
        format!("http://{address}")
    }

    /// Sets or replaces the answer of a URL.
    pub fn at(&self, url: &str, place: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        let place_name = url.strip_prefix("https://").unwrap_or(url).to_owned();
        self.map.places.lock().unwrap().insert(place_name, Arc::new(place));
    }

    /// The requests to a URL so far.
    pub fn asked(&self, url: &str) -> Vec<Received> {
        let name = url.strip_prefix("https://").unwrap_or(url);
        self.map.asked.lock().unwrap().iter().filter(|asked| asked.place == name).cloned().collect()
    }

    /// The number of requests to all URLs so far.
    pub fn all_asked(&self) -> usize {
        self.map.asked.lock().unwrap().len()
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    web::Query::<BTreeMap<String, String>>::from_query(text)
        .map(|pairs| pairs.into_inner())
        .unwrap_or_default()
}

async fn answer(map: web::Data<Arc<Map>>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let host = request.connection_info().host().split(':').next().unwrap().to_owned();
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Received {
        place: format!("{host}{}", request.path()),
        query: pairs(request.query_string()),
        form: pairs(std::str::from_utf8(&body).unwrap()),
        authorization: header("authorization"),
    };
    map.asked.lock().unwrap().push(asked.clone());
    let place = map.places.lock().unwrap().get(&asked.place).cloned();
    match place.map(|place| place(&asked)) {
        None => HttpResponse::NotFound().finish(),
        Some(Reply::Json(value)) => HttpResponse::Ok().json(value),
        Some(Reply::Dated(value, date)) => HttpResponse::Ok().insert_header(("date", date)).json(value),
        Some(Reply::Error(status, value)) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(value)
        }
        Some(Reply::Redirect(to)) => HttpResponse::Found().insert_header(("location", to)).finish(),
        Some(Reply::Bytes(bytes)) => HttpResponse::Ok().content_type("application/json").body(bytes),
        Some(Reply::Late(value)) => {
            tokio::time::sleep(Duration::from_secs(8)).await;
            HttpResponse::Ok().json(value)
        }
    }
}

/// Starts the TLS server, in a thread that ends with the process.
fn serve(map: Arc<Map>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls = bulla::internals::http::ServedCertificate::load(
        &CERTIFICATE.join("cert.pem"),
        &CERTIFICATE.join("key.pem"),
    )
    .unwrap();
    let tls = Arc::new(tls).config().unwrap();
    std::thread::spawn(move || {
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(Arc::clone(&map))).default_service(web::to(answer))
        });
        let server = server.workers(1).disable_signals().listen_rustls_0_23(listener, tls).unwrap().run();
        actix_web::rt::System::new().block_on(server).unwrap();
    });
    address
}

/// Starts a proxy for `CONNECT` (RFC 9110, 9.3.6), which connects every request to the simulated server.
fn proxy(tls: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(tunnel(client, tls));
            }
        });
    });
    address
}

async fn tunnel(mut client: tokio::net::TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    assert!(head.starts_with(b"CONNECT "), "{}", String::from_utf8_lossy(&head));
    let mut server = tokio::net::TcpStream::connect(to).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
