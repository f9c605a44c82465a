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
    /// Make what is missing first: key ring, database, an administrator `admin`. Its password is printed to a
    /// terminal; where standard error is none, it is in the file `admin-password` beside the database.
    #[arg(long)]
    init: bool,
    /// Address and port [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where browsers see the server, as https://login.example.org
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Address and port of a listener for probes and metrics alone; they leave the other one then
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Its key, PEM
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
            "{} can't be listened on: {error}; choose another with --listen",
            settings.listen
        ))
    };
    let listener = TcpListener::bind(settings.listen).map_err(listen)?;
    let admin = settings.admin_listen.map(|address| {
        TcpListener::bind(address).map_err(|error| {
            CliError::Failed(format!(
                "{address} can't be listened on: {error}; choose another with --admin-listen"
            ))
        })
    });
    let admin = admin.transpose()?;
    if let Some(address) = admin.as_ref().and_then(|admin| admin.local_addr().ok()) {
        tracing::info!(%address, "probes and metrics are answered here only");
    }
    let address = listener.local_addr().map_err(listen)?;
    let port = address.port();
    take_descriptors();
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
    let bulla = builder.start().await.map_err(|error| started(error, args.init))?;
    if args.init {
        first_admin(&bulla, ctx).await?;
    }
    // Registers the signal handlers before the server is announced. A signal that arrives right after that is then handled and
    // does not kill the process.
    let signals =
        Signals::take().map_err(|error| CliError::Failed(format!("signals can't be received: {error}")))?;
    let how = Serve { workers: settings.workers, shutdown_timeout: settings.shutdown_timeout, tls, admin };
    let server = serve(&bulla, listener, how).map_err(listen)?;
    let serves = format!("Bulla serves on {origin} (log in at {origin}/auth/login); Ctrl-C ends it.");
    match settings.log_json {
        true => tracing::info!("{serves}"),
        false => ctx.say(&serves),
    }
    tracing::info!(listen = %settings.listen, port, "serving");

    let handle = server.handle();
    tokio::select! {
        served = server => served.map_err(|error| CliError::Failed(format!("the server failed: {error}")))?,
        () = watch(signals, &bulla, &handle, address, settings.workers) => {}
    }
    match bulla.sessions().parts().store.now().await {
        Err(StoreError::Broken) => Err(CliError::Unavailable(
            "the database can't vouch for what is on the disk; start again to recover".into(),
        )),
        _ => Ok(()),
    }
}

fn site(settings: &Settings, port: u16) -> Site {
    let site = match &settings.public_url {
        Some(url) => Site::public(url),
        None => Site::loopback(port, settings.tls.is_some()),
    };
    let site = site.allow(settings.allowed_origins.iter().cloned());
    site.trust(settings.trusted_proxies.iter().copied()).forwarded_header(settings.forwarded_header)
}

fn started(error: StartError, init: bool) -> CliError {
    match error {
        StartError::Store(error) => error.into(),
        StartError::Ring(error) if init => CliError::from(error),
        StartError::Ring(error) => error.into(),
        StartError::Policy(error) => CliError::Usage(error.to_string()),
    }
}

/// Raises the soft limit on open files to the hard limit. Every connection needs a descriptor, and the usual soft limit of 1,024
/// is soon reached.
fn take_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "no more file descriptors are to be had; connections are few");
    }
}

/// The signals that the process handles.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn take() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Handles signals: HUP reloads the keys, TERM and INT end the server after the requests in progress. Also ends the server if the
/// store is no longer reliable. Returns at a second request to end; then nothing is waited for.
async fn watch(
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
            tracing::info!("ending at once");
            return;
        }
        tracing::info!("ending after the requests under way");
        let server = server.clone();
        actix_web::rt::spawn(async move {
            drain(listens, workers).await;
            // `stop` sends the command at once. Its future only waits for the end, and `run` does that.
            drop(server.stop(true));
        });
    }
}
