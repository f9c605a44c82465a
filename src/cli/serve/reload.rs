//! Reloads keys, certificate and settings while the server runs.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};

use super::notify::ServiceManager;
use crate::{
    cli::{Context, log::SetLevel, settings_source::SettingsSource},
    config::{Settings, Tls},
    http::{Bulla, ServedCertificate},
};

/// How often the server looks whether the files of its certificate have changed.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

/// The settings that a reload puts into force.
const LIVE: [&str; 3] = ["log_level", "tls_cert", "tls_key"];

/// The parts that a reload changes.
pub(super) struct Reload {
    bulla: Bulla,
    source: SettingsSource,
    /// The settings with which the server started.
    started: Settings,
    set_level: SetLevel,
    certificate: Option<Arc<ServedCertificate>>,
    manager: Rc<ServiceManager>,
    /// The level in force. The lock lets one reload run at a time.
    level: Mutex<&'static str>,
}

impl Reload {
    pub(super) fn new(
        bulla: Bulla,
        ctx: &Context,
        set_level: SetLevel,
        certificate: Option<Arc<ServedCertificate>>,
        manager: Rc<ServiceManager>,
    ) -> Rc<Self> {
        let (source, started) = (ctx.source.clone(), ctx.settings.clone());
        let level = Mutex::new(started.log_level);
        Rc::new(Self { bulla, source, started, set_level, certificate, manager, level })
    }

    /// Reloads everything that can change while the server runs.
    pub(super) async fn run(&self) {
        let mut level = self.level.lock().await;
        self.manager.reloading();
        self.bulla.reload_ring().await;
        let source = self.source.clone();
        // Files are read on another thread, because a mount can hang.
        match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(Ok(settings)) => self.apply(&settings, &mut level).await,
            Ok(Err(faults)) => {
                let faults = faults.join("; ");
                tracing::error!(
                    "the settings were not reloaded: {faults}; the previous settings stay in force"
                );
                self.reload_certificate(None).await;
            }
            Err(error) => tracing::error!(%error, "the settings were not reloaded"),
        }
        self.manager.ready();
    }

    async fn apply(&self, settings: &Settings, level: &mut &'static str) {
        if *level != settings.log_level {
            self.change_level(settings.log_level);
            *level = settings.log_level;
        }
        let mut changed = self.started.changed(settings);
        // Serving TLS instead of plain HTTP, or the reverse, needs another listener.
        let same_protocol = settings.tls.is_some() == self.started.tls.is_some();
        changed.retain(|name| !LIVE.contains(&&**name) || !same_protocol && name.starts_with("tls_"));
        if !changed.is_empty() {
            tracing::warn!(
                "these settings have changed and need a restart of the server: {}",
                changed.join(", ")
            );
        }
        if same_protocol {
            self.reload_certificate(settings.tls.clone()).await;
        }
        tracing::info!("the settings were reloaded");
    }

    fn change_level(&self, level: &str) {
        let report = || tracing::info!("log_level = {level:?} is in force");
        // The line belongs to the level that shows more, which is the previous or the new one.
        let is_shown = tracing::enabled!(tracing::Level::INFO);
        if is_shown {
            report();
        }
        match (self.set_level)(level) {
            Ok(()) if is_shown => {}
            Ok(()) => report(),
            Err(error) => tracing::error!("log_level = {level:?} can't be put into force: {error}"),
        }
    }

    /// Loads the certificate again, from other files if the settings name some.
    async fn reload_certificate(&self, files: Option<Tls>) {
        let Some(certificate) = self.certificate.clone() else { return };
        let reload = move || certificate.reload(files.as_ref().map(|files| (&*files.cert, &*files.key)));
        if let Ok(loaded) = tokio::task::spawn_blocking(reload).await {
            report(loaded);
        }
    }
}

/// Loads the certificate again when its files change, until the program ends.
pub(super) fn follow_files(certificate: Arc<ServedCertificate>) {
    actix_web::rt::spawn(async move {
        let mut look = interval(LOOK_AT_FILES);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let certificate = Arc::clone(&certificate);
            if let Ok(Some(loaded)) = tokio::task::spawn_blocking(move || certificate.look()).await {
                report(loaded);
            }
        }
    });
}

fn report(loaded: Result<(), String>) {
    match loaded {
        Ok(()) => tracing::info!("the certificate was reloaded"),
        Err(error) => {
            tracing::error!("the certificate was not reloaded: {error}; the previous one stays in force")
        }
    }
}
