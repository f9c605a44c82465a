//! Sends requests to other servers: HTTPS, one answer, no redirects, with limits on time and memory.
//!
//! Respects `HTTPS_PROXY` and `NO_PROXY`, `SSL_CERT_FILE` and `SSL_CERT_DIR`. Plain HTTP is allowed only to loopback.

use std::{sync::OnceLock, time::Duration};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{Request, Response, Uri, body::Bytes, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};

/// The time limit of a request, from the name lookup to the last byte of the answer.
const TIME: Duration = Duration::from_secs(5);
/// The largest body that is read, in bytes.
const LONGEST: usize = 256 << 10;

/// The reason why there is no answer. Contains no secret, and no part of a URL that the caller does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is neither HTTPS nor plain HTTP on loopback.
    #[error("plain HTTP is allowed only to loopback addresses")]
    Insecure,
    /// The complete answer did not arrive within five seconds.
    #[error("no complete answer within 5 seconds")]
    Slow,
    /// The body is longer than 256 KiB.
    #[error("the answer is longer than 256 KiB")]
    Long,
    /// The connection or TLS failed, or the answer is malformed.
    #[error("{0}")]
    Failed(String),
}

/// A client that sends requests to other servers. It is created at the first request, so a program without requests has no cost.
#[derive(Debug, Default)]
pub struct Fetch(OnceLock<Result<Clients, FetchError>>);

type Through<C> = Client<HttpsConnector<C>, Full<Bytes>>;

#[derive(Debug)]
struct Clients {
    tls: rustls::ClientConfig,
    direct: Through<HttpConnector>,
    proxies: Matcher,
}

impl Fetch {
    /// Sends a request and reads the whole answer, whatever its status. Redirects are returned and not followed.
    ///
    /// # Errors
    ///
    /// [`FetchError`] if the URL is insecure, the answer takes longer than 5 seconds or is longer than 256 KiB, or the connection
    /// fails.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, FetchError> {
        if !is_secure(request.uri()) {
            return Err(FetchError::Insecure);
        }
        let clients = self.0.get_or_init(Clients::new).as_ref().map_err(Clone::clone)?;
        tokio::time::timeout(TIME, clients.send(request)).await.map_err(|_| FetchError::Slow)?
    }
}

/// Whether the connection to this URL is protected: HTTPS, or plain HTTP to this machine.
fn is_secure(uri: &Uri) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => uri.host().is_some_and(is_loopback),
        _ => false,
    }
}

/// Whether the host of a URL is this machine: `localhost`, 127.0.0.0/8, `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Clients {
    fn new() -> Result<Self, FetchError> {
        let tls = trust()?;
        let direct = client(&tls, tcp());
        Ok(Self { tls, direct, proxies: Matcher::from_env() })
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, FetchError> {
        let (mut head, body) = request.into_parts();
        let agent = concat!("bulla/", env!("CARGO_PKG_VERSION"));
        head.headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));
        let proxy =
            (head.uri.scheme_str() == Some("https")).then(|| self.proxies.intercept(&head.uri)).flatten();
        let request = Request::from_parts(head, Full::new(Bytes::from(body)));
        let answer = match proxy {
            None => self.direct.request(request).await,
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), tcp());
                let tunnel = match proxy.basic_auth() {
                    Some(login) => tunnel.with_auth(login.clone()),
                    None => tunnel,
                };
                client(&self.tls, tunnel).request(request).await
            }
        };
        let (head, body) = answer.map_err(|error| FetchError::Failed(innermost_cause(&error)))?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                FetchError::Long
            } else {
                FetchError::Failed(innermost_cause(&*error))
            }
        })?;
        Ok(Response::from_parts(head, body.to_bytes().to_vec()))
    }
}

/// Returns the TLS configuration, with the certificates that this machine trusts and ring's cryptography.
fn trust() -> Result<rustls::ClientConfig, FetchError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let what =
            "this machine has no trusted root certificates; install ca-certificates, or set SSL_CERT_FILE";
        return Err(FetchError::Failed(what.into()));
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| FetchError::Failed(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp
}

/// Creates a client that does not keep connections: logins are rare, and the next one may come from the runtime of another
/// thread.
fn client<C>(tls: &rustls::ClientConfig, connector: C) -> Through<C>
where
    HttpsConnector<C>: hyper_util::client::legacy::connect::Connect + Clone,
{
    let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.wrap_connector(connector))
}

/// Returns the innermost cause of an error: "connection refused" is more useful than "client error".
fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
