//! The connections to an app: TCP, TLS with the certificates that the settings name, or a Unix socket.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::net::UnixStream;
use tower_service::Service;

use super::{
    app_stream::AppStream,
    body::RequestBody,
    probes,
    upstream::{Target, UpstreamSettings},
};

/// The time that a connection to an app stays open without a request.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// The most connections to an app that wait for a request, for each thread.
const IDLE: usize = 64;

pub(crate) type AppClient = Client<Connector, RequestBody>;

/// A client for the requests to one app.
///
/// # Errors
///
/// The file of certificates can't be read, or contains none.
pub(crate) fn client(upstream: &UpstreamSettings) -> Result<AppClient, String> {
    let connector = match &upstream.target {
        Target::Unix(path) => Connector::Unix(path.clone()),
        Target::Http(_) => Connector::Tcp(tcp(upstream, &tls(RootCertStore::empty())?)),
        Target::Https(_, ca) => Connector::Tcp(tcp(upstream, &tls(roots(ca.as_deref())?)?)),
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(IDLE)
        .http1_max_buf_size(256 << 10);
    Ok(builder.build(connector))
}

fn tcp(upstream: &UpstreamSettings, tls: &rustls::ClientConfig) -> HttpsConnector<HttpConnector> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(upstream.connect_timeout));
    tcp.set_keepalive(Some(probes::IDLE));
    tcp.set_keepalive_interval(Some(probes::INTERVAL));
    tcp.set_keepalive_retries(Some(probes::COUNT));
    HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}

fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err("this machine has no trusted root certificates; install ca-certificates, or set ca to a PEM file".into())
        } else {
            Ok(roots)
        };
    };
    let bad = |why: String| format!("{}: {why}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() { Err(bad("contains no certificate".into())) } else { Ok(roots) }
}

/// Makes connections to one app.
#[derive(Clone)]
pub(crate) enum Connector {
    Tcp(HttpsConnector<HttpConnector>),
    Unix(PathBuf),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = AppStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<AppStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_ready(context),
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Tcp(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move { Ok(AppStream::new(connecting.await?)) })
            }
            Self::Unix(path) => {
                let path = path.clone();
                Box::pin(async move { Ok(AppStream::new(TokioIo::new(UnixStream::connect(path).await?))) })
            }
        }
    }
}
