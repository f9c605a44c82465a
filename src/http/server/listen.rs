//! The HTTP server: listeners, TLS, time limits, shutdown.
//!
//! It is built from the parts of actix-web's `HttpServer`, which gives no access to the stream of a connection: [`Metered`] stands
//! between the socket and HTTP.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, Protocol, error::DispatchError};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_tls::accept::{
    TlsError,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::dev::{AppConfig, Server};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::http::{
    Bulla,
    server::app::{Listener, app},
    server::intake::Metered,
};

/// The time in which the head of a connection's first request must arrive. For later requests [`super::intake`] has the limit.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The time that a connection stays open without a request. It is longer than in common proxies (nginx: 60 s). Otherwise a proxy
/// would send requests into a connection that is being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The time in which a client must close its side after the last answer.
const DISCONNECT_TIME: Duration = Duration::from_secs(1);

/// The settings of a server.
#[derive(Debug)]
pub struct Serve {
    /// The number of threads that serve requests.
    pub workers: usize,
    /// How long a shutdown waits for requests that are being served.
    pub shutdown_timeout: Duration,
    /// The TLS configuration. Without it the server speaks plain HTTP.
    pub tls: Option<rustls::ServerConfig>,
    /// A separate listener for probes and metrics, with plain HTTP. Without it the main listener answers them.
    pub admin: Option<TcpListener>,
}

/// Serves all routes on a listener until the server's handle stops it.
///
/// # Errors
///
/// The listener can't be used.
pub fn serve(bulla: &Bulla, listener: TcpListener, how: Serve) -> io::Result<Server> {
    let server = ServerBuilder::new()
        .workers(how.workers)
        .worker_max_blocking_threads(16)
        .shutdown_timeout(how.shutdown_timeout.as_secs())
        .disable_signals();
    let public = Door {
        bulla: bulla.clone(),
        listener: if how.admin.is_some() { Listener::Public } else { Listener::Whole },
        stop: server.graceful_shutdown_signal(),
    };
    let admin = Door { listener: Listener::Admin, ..public.clone() };
    let server = match how.admin {
        Some(listener) => server.listen("admin", listener, move || admin.plain())?,
        None => server,
    };
    let server = match how.tls {
        Some(tls) => server.listen("tls", listener, move || public.tls(tls.clone()))?,
        None => server.listen("plain", listener, move || public.plain())?,
    };
    Ok(server.run())
}

/// A listener and the parts that its connections need.
#[derive(Clone)]
struct Door {
    bulla: Bulla,
    listener: Listener,
    stop: GracefulShutdownSignal,
}

impl Door {
    /// HTTP/1.1 without TLS.
    fn plain(
        &self,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<>
    {
        let budget = Arc::clone(&self.bulla.0.intake);
        let metered = fn_service(move |io: TcpStream| {
            let peer = io.peer_addr().ok();
            ready(Ok((Metered::new(io, &budget), Protocol::Http1, peer)))
        });
        metered.and_then(self.http())
    }

    /// HTTP/1.1 with TLS, and HTTP/2 with the feature `http2`.
    fn tls(
        &self,
        mut tls: rustls::ServerConfig,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = TlsError<io::Error, DispatchError>,
        InitError = (),
    > + use<> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        #[cfg(feature = "http2")]
        tls.alpn_protocols.insert(0, b"h2".to_vec());
        let budget = Arc::clone(&self.bulla.0.intake);
        let metered = move |io: TlsStream<TcpStream>| {
            let (stream, session) = io.get_ref();
            let peer = stream.peer_addr().ok();
            let http2 = session.alpn_protocol() == Some(b"h2");
            ready(Ok(match http2 {
                true => (Metered::unmetered(io), Protocol::Http2, peer),
                false => (Metered::new(io, &budget), Protocol::Http1, peer),
            }))
        };
        Acceptor::new(tls)
            .map_err(TlsError::into_service_error)
            .and_then(fn_service(metered))
            .and_then(self.http().map_err(TlsError::Service))
    }

    fn http<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
    ) -> impl ServiceFactory<
        (Metered<IO>, Protocol, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + use<IO> {
        let stop = self.stop.clone();
        let app =
            app(self.bulla.clone(), self.listener).into_factory().map_err(|error| error.error_response());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .client_request_timeout(HEAD_TIME)
            .keep_alive(KEEP_ALIVE)
            .client_disconnect_timeout(DISCONNECT_TIME)
            .on_connect_ext(|io: &Metered<IO>, extensions| {
                if let Some(intake) = io.intake() {
                    extensions.insert(Rc::clone(intake));
                }
            })
            .finish(map_config(app, |()| AppConfig::default()))
    }
}
