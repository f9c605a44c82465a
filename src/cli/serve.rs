//! `bulla serve`: runs the server as a process, with its log and the first administrator.

use std::{net::TcpListener, rc::Rc, sync::Arc};

use clap::Args;

mod notify;
mod reload;
mod signals;

use self::{
    notify::ServiceManager,
    reload::Reload,
    signals::{Running, Signals},
};
use super::{CliError, Context, first_admin::first_admin, log, modes};
use crate::{
    config::Settings,
    http::{Builder, Bulla, Pulse, Serve, ServedCertificate, Site, StartError, certificate, serve},
    identity::PasswordRule,
    store::StoreError,
};

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
    let set_level = log::start(log::Format::of(settings), settings.log_level, &ctx.suggest);
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    for open in modes::open_to_others(ctx) {
        tracing::warn!("{open}");
    }
    if !args.init {
        // A typing error in a path must not create a new, empty installation without users.
        super::expect_database(&settings.database).await?;
    }
    let (listener, admin) = bind(settings)?;
    let address = listener.local_addr().map_err(|error| cannot_listen(settings, &error))?;
    let port = address.port();
    raise_file_limit();
    let certificate = load_certificate(settings)?;
    let tls = certificate.as_ref().map(ServedCertificate::config).transpose().map_err(CliError::Failed)?;
    let site = site(settings, port);
    let origin = site.origin().to_owned();
    let builder = builder(settings, site, ctx);
    let builder = if args.init { builder.init() } else { builder };
    let bulla = builder.start().await.map_err(|error| start_error(error, args.init))?;
    if args.init {
        first_admin(&bulla, ctx).await?;
    }
    let manager = Rc::new(ServiceManager::from_environment());
    let pulse = Arc::new(Pulse::default());
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
        pulse: Arc::clone(&pulse),
    };
    let server = serve(&bulla, listener, how).map_err(|error| cannot_listen(settings, &error))?;
    let serves = format!("Bulla serves on {origin} (log in at {origin}/auth/login); Ctrl-C stops it.");
    match settings.log_json {
        true => tracing::info!("{serves}"),
        false => ctx.say(&serves),
    }
    tracing::info!(listen = %settings.listen, port, "serving");

    manager.ready();
    notify::feed_watchdog(&manager, pulse);
    if let Some(certificate) = &certificate {
        reload::follow_files(Arc::clone(certificate));
    }
    let reload = Reload::new(bulla.clone(), ctx, set_level, certificate, Rc::clone(&manager));
    let running = Running {
        bulla: &bulla,
        server: server.handle(),
        listens: address,
        workers: settings.workers,
        reload,
        manager,
    };
    tokio::select! {
        served = server => served.map_err(|error| CliError::Failed(format!("the server failed: {error}")))?,
        () = running.handle(signals) => {}
    }
    match bulla.sessions().parts().store.now().await {
        Err(StoreError::Broken) => Err(CliError::Unavailable(
            "the database files were replaced or could not be synced to the disk, so the server has stopped; start \
             it again to recover".into(),
        )),
        _ => Ok(()),
    }
}

/// Binds the listener, and the separate one for probes and metrics if there is one.
fn bind(settings: &Settings) -> Result<(TcpListener, Option<TcpListener>), CliError> {
    let listener = TcpListener::bind(settings.listen).map_err(|error| cannot_listen(settings, &error))?;
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
    Ok((listener, admin))
}

fn cannot_listen(settings: &Settings, error: &std::io::Error) -> CliError {
    CliError::Failed(format!(
        "can't listen on {}: {error}; choose another address with --listen",
        settings.listen
    ))
}

/// Loads the certificate, if the server speaks TLS. Warns if other users can read its key.
fn load_certificate(settings: &Settings) -> Result<Option<Arc<ServedCertificate>>, CliError> {
    let Some(files) = &settings.tls else { return Ok(None) };
    let certificate = ServedCertificate::load(&files.cert, &files.key).map_err(CliError::Failed)?;
    if let Some(open) = certificate::open(&files.key) {
        tracing::warn!("{open}");
    }
    Ok(Some(Arc::new(certificate)))
}

fn builder(settings: &Settings, site: Site, ctx: &Context) -> Builder {
    Bulla::builder(&settings.keys, &settings.database)
        .site(site)
        .providers(settings.providers.clone())
        .policy(settings.policy.clone())
        .cookie_domain(settings.cookie_domain.clone())
        .password(PasswordRule { min: settings.password_min })
        .login_queue(settings.login_queue)
        .audit_keep(settings.audit_keep)
        .allow_group_read(settings.allow_group_read)
        .clock(Arc::clone(&ctx.clock))
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
