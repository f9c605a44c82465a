//! `bulla serve`: runs the server as a process, with its signals, its log and the first administrator.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use clap::Args;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{CliError, Context, first_admin::first_admin, log, modes};
use crate::{
    config::Settings,
    http::{Bulla, Serve, Site, StartError, certificate, drain, serve, tls},
    identity::PasswordRule,
    store::StoreError,
};

/// How often the process checks that its store is still reliable.
const LOOK: Duration = Duration::from_millis(500);

/// How to serve.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// First create what is missing: the key ring, the database, and an administrator `admin`. Its password is
    /// printed if standard error is a terminal, else written to the file `admin-password` beside the database.
    #[arg(long)]
    init: bool,
    /// Address and port to listen on [default: 127.0.0.1:8080]; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The origin at which browsers reach the server, for example https://login.example.org
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Address and port of a separate listener for health probes and metrics; --listen then serves neither
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// The app behind the gateway (http://HOST:PORT, https://HOST or unix:/PATH): it gets all requests except those to Bulla
    /// itself, of people who have logged in
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Certificate chain (PEM file)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of the certificate (PEM file)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl ServeArgs {
    /// Returns the flags that are settings.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let named = [
            ("listen", &self.listen),
            ("public_url", &self.public_url),
            ("admin_listen", &self.admin_listen),
            ("upstream", &self.upstream),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)))
    }
}

/// Serves until a signal ends it. Requests in progress are answered first.
pub(super) async fn run(args: &ServeArgs, ctx: &Context) -> Result<(), CliError> {
    let settings = &ctx.settings;
    log::start(log::Format::of(settings), settings.log_level, &ctx.suggest);
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    for open in modes::open_to_others(ctx) {
        tracing::warn!("{open}");
    }
    if !args.init {
        // A typing error in a path must not create a new, empty installation without users.
        super::expect_database(&settings.database).await?;
    }
    let listen = |error: std::io::Error| {
        CliError::Failed(format!(
            "can't listen on {}: {error}; choose another address with --listen",
            settings.listen
        ))
    };
    let listener = TcpListener::bind(settings.listen).map_err(listen)?;
    let admin = settings.admin_listen.map(|address| {
        TcpListener::bind(address).map_err(|error| {
            CliError::Failed(format!(
                "can't listen on {address}: {error}; choose another address with --admin-listen"
            ))
        })
    });
    let admin = admin.transpose()?;
    if let Some(address) = admin.as_ref().and_then(|admin| admin.local_addr().ok()) {
        tracing::info!(%address, "health probes and metrics are served only on this address");
    }
    let address = listener.local_addr().map_err(listen)?;
    let port = address.port();
    raise_file_limit();
    let tls = settings.tls.as_ref().map(|files| tls(&files.cert, &files.key)).transpose();
    let tls = tls.map_err(CliError::Failed)?;
    if let Some(open) = settings.tls.as_ref().and_then(|files| certificate::open(&files.key)) {
        tracing::warn!("{open}");
    }

    let site = site(settings, port);
    let origin = site.origin().to_owned();
    let builder = Bulla::builder(&settings.keys, &settings.database)
        .site(site)
        .providers(settings.providers.clone())
        .policy(settings.policy.clone())
        .cookie_domain(settings.cookie_domain.clone())
        .password(PasswordRule { min: settings.password_min })
        .login_queue(settings.login_queue)
        .audit_keep(settings.audit_keep)
        .allow_group_read(settings.allow_group_read)
        .clock(Arc::clone(&ctx.clock));
    let builder = if args.init { builder.init() } else { builder };
    let bulla = builder.start().await.map_err(|error| start_error(error, args.init))?;
    if args.init {
        first_admin(&bulla, ctx).await?;
    }
    // Registers the signal handlers before the server is announced. A signal that arrives right after that is then handled and
    // does not kill the process.
    let signals = Signals::register()
        .map_err(|error| CliError::Failed(format!("signal handlers can't be installed: {error}")))?;
    let how = Serve {
        workers: settings.workers,
        shutdown_timeout: settings.shutdown_timeout,
        tls,
        admin,
        upstreams: settings.upstreams.clone(),
    };
    let server = serve(&bulla, listener, how).map_err(listen)?;
    let serves = format!("Bulla serves on {origin} (log in at {origin}/auth/login); Ctrl-C stops it.");
    match settings.log_json {
        true => tracing::info!("{serves}"),
        false => ctx.say(&serves),
    }
    tracing::info!(listen = %settings.listen, port, "serving");

    let handle = server.handle();
    tokio::select! {
        served = server => served.map_err(|error| CliError::Failed(format!("the server failed: {error}")))?,
        () = handle_signals(signals, &bulla, &handle, address, settings.workers) => {}
    }
    match bulla.sessions().parts().store.now().await {
        Err(StoreError::Broken) => Err(CliError::Unavailable(
            "the database files were replaced or could not be synced to the disk, so the server has stopped; start \
             it again to recover".into(),
        )),
        _ => Ok(()),
    }
}

fn site(settings: &Settings, port: u16) -> Site {
    let site = match &settings.public_url {
        Some(url) => Site::public(url),
        None => Site::loopback(port, settings.tls.is_some()),
    };
    let apps = settings.upstreams.iter().filter_map(|upstream| upstream.host());
    let site = site.and_hosts(apps.chain(settings.sites.iter().map(|rule| rule.host.as_str())));
    let site = site.with_rules(settings.sites.iter().cloned());
    let site = site.allow(settings.allowed_origins.iter().cloned());
    site.trust_networks(settings.trusted_proxies.iter().copied()).forwarded_header(settings.forwarded_header)
}

fn start_error(error: StartError, init: bool) -> CliError {
    match error {
        StartError::Store(error) => error.into(),
        StartError::Ring(error) if init => CliError::from(error),
        StartError::Ring(error) => error.into(),
        StartError::Policy(_) | StartError::Site(_) | StartError::Prefix(_) => {
            CliError::Usage(error.to_string())
        }
    }
}

/// Raises the soft limit on open files to the hard limit. Every connection needs a descriptor, and the usual soft limit of 1,024
/// is soon reached.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the soft limit on open files can't be raised to the hard limit, so fewer connections \
            are possible");
    }
}

/// The signals that the process handles.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn register() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Handles signals: HUP reloads the keys; TERM and INT end the server after the requests in progress. Also ends the server if the
/// store is no longer reliable. Returns at a second TERM or INT, so that the process ends without waiting for requests.
async fn handle_signals(
    mut signals: Signals,
    bulla: &Bulla,
    server: &ServerHandle,
    listens: SocketAddr,
    workers: usize,
) {
    // An interval is used instead of a sleep, because every signal would restart a sleep.
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending = false;
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                // Runs in a separate task. Otherwise a hanging mount with the keys would block the handling of the next signal.
                let bulla = bulla.clone();
                actix_web::rt::spawn(async move { bulla.reload_ring().await });
                continue;
            }
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
            _ = look.tick() => {
                if !matches!(bulla.sessions().parts().store.now().await, Err(StoreError::Broken)) {
                    continue;
                }
            }
        }
        if std::mem::replace(&mut ending, true) {
            tracing::info!("stopping at once");
            return;
        }
        tracing::info!("stopping after the requests in progress");
        let server = server.clone();
        actix_web::rt::spawn(async move {
            drain(listens, workers).await;
            // `stop` sends the command at once. Its future only waits for the end, and `run` does that.
            drop(server.stop(true));
        });
    }
}
