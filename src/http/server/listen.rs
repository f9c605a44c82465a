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
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
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
    Bulla, UpstreamSettings,
    gateway::{Gateway, probe_idle_connections},
    server::{
        app::{Listener, app},
        front::Front,
        intake::Metered,
        pulse::Pulse,
    },
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
    /// A separate listener for probes and metrics, with plain HTTP. Without it the main listener answers them. With apps behind the
    /// gateway nothing else has them, and if the listener is on loopback it also has the administration.
    pub admin: Option<TcpListener>,
    /// The apps behind the gateway. If there is one, all requests that are not for Bulla's own routes go to them.
    pub upstreams: Vec<UpstreamSettings>,
    /// Shows whether the threads run.
    pub pulse: Arc<Pulse>,
}

/// Serves all routes on a listener until the server's handle stops it.
///
/// # Errors
///
/// The listener can't be used, or the certificates for an app can't be read.
pub fn serve(bulla: &Bulla, listener: TcpListener, how: Serve) -> io::Result<Server> {
    let has_apps = !how.upstreams.is_empty();
    // Each thread makes its own; an error is reported here, before any starts.
    Gateway::new(bulla, &how.upstreams).map_err(io::Error::other)?;
    if has_apps {
        probe_idle_connections(&listener)?;
    }
    let server = ServerBuilder::new()
        .workers(how.workers)
        .worker_max_blocking_threads(16)
        .shutdown_timeout(how.shutdown_timeout.as_secs())
        .disable_signals();
    let public = Door {
        bulla: bulla.clone(),
        listener: match (has_apps, how.admin.is_some()) {
            (true, _) => Listener::BesideApps,
            (false, true) => Listener::Public,
            (false, false) => Listener::Whole,
        },
        upstreams: how.upstreams.into(),
        stop: server.graceful_shutdown_signal(),
        pulse: how.pulse,
    };
    // Passwords and tokens must not cross a network unencrypted.
    let is_local = |admin: &TcpListener| admin.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let has_administration = has_apps && how.admin.as_ref().is_some_and(is_local);
    let admin = if has_administration { Listener::AdminBesideApps } else { Listener::Admin };
    let admin = Door { listener: admin, ..public.clone() };
    let server = match how.admin {
        Some(listener) => server.listen("admin", listener, move || admin.plain())?,
        None => server,
    };
    // Each worker calls these functions when it starts.
    let server = match (how.tls, has_apps) {
        (Some(tls), false) => server.listen("tls", listener, move || public.watched().tls(tls.clone()))?,
        (None, false) => server.listen("plain", listener, move || public.watched().plain())?,
        (Some(tls), true) => {
            server.listen("tls", listener, move || public.watched().gateway_tls(tls.clone()))?
        }
        (None, true) => server.listen("plain", listener, move || public.watched().gateway_plain())?,
    };
    Ok(server.run())
}

/// A listener and the parts that its connections need.
#[derive(Clone)]
struct Door {
    bulla: Bulla,
    listener: Listener,
    upstreams: Arc<[UpstreamSettings]>,
    stop: GracefulShutdownSignal,
    pulse: Arc<Pulse>,
}

impl Door {
    /// Watches the worker that calls this.
    fn watched(&self) -> &Self {
        self.pulse.join();
        self
    }

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

    /// The gateway, with HTTP/1.1 without TLS.
    fn gateway_plain(
        &self,
    ) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = io::Error, InitError = ()> + use<>
    {
        let with_peer = fn_service(|io: TcpStream| {
            let peer = io.peer_addr().ok();
            ready(io.set_nodelay(true).map(|()| (io, peer)))
        });
        with_peer.and_then(self.gateway())
    }

    /// The gateway, with HTTP/1.1 and TLS.
    fn gateway_tls(
        &self,
        mut tls: rustls::ServerConfig,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = TlsError<io::Error, io::Error>,
        InitError = (),
    > + use<> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let with_peer = fn_service(|io: TlsStream<TcpStream>| {
            let stream = io.get_ref().0;
            let peer = stream.peer_addr().ok();
            ready(stream.set_nodelay(true).map(|()| (io, peer)).map_err(TlsError::Service))
        });
        Acceptor::new(tls)
            .map_err(TlsError::into_service_error)
            .and_then(with_peer)
            .and_then(self.gateway().map_err(TlsError::Service))
    }

    fn gateway<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
    ) -> impl ServiceFactory<
        (IO, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = io::Error,
        InitError = (),
    > + use<IO> {
        let door = self.clone();
        fn_factory(move || {
            let Self { bulla, listener, upstreams, stop, .. } = door.clone();
            async move {
                let own = map_config(app(bulla.clone(), listener).into_factory(), |()| AppConfig::default());
                let own = own.new_service(()).await?;
                let gateway = Gateway::new(&bulla, &upstreams)
                    .map_err(|why| tracing::error!(%why, "a thread of the gateway can't start"))?;
                let front = Rc::new(Front { bulla, own, gateway });
                Ok(fn_service(move |(io, peer)| {
                    let (front, stop) = (Rc::clone(&front), stop.clone());
                    async move {
                        front.serve(io, peer, async move { stop.notified().await }).await;
                        Ok(())
                    }
                }))
            }
        })
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
