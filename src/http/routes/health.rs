//! Health checks and metrics: liveness, readiness and the metrics of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpResponse, web};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::http::Bulla;

/// `GET /health/live`: shows that the process answers.
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// `GET /health/ready`: checks that the denylist is complete and fresh, the store answers, the ring is good and the triggers are in
/// place. A failed check is named, and the status is 503. A state that needs attention but does not prevent service is a warning.
pub(crate) async fn ready(bulla: web::Data<Bulla>) -> HttpResponse {
    let sessions = bulla.sessions();
    let store = &sessions.parts().store;
    let checks = [
        ("store", bulla.0.installation.store_health.look(async || store.check_health().await.is_ok()).await),
        ("revocations", sessions.denylist().age() <= sessions.parts().policy.max_staleness),
        ("key_ring", bulla.ring_is_good()),
        ("triggers", bulla.triggers_are_good()),
    ];
    let ready = checks.iter().all(|(_, good)| *good);
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let named: serde_json::Map<_, _> =
        checks.iter().map(|(name, good)| ((*name).into(), (*good).into())).collect();
    let mut body = serde_json::json!({"status": if ready { "ready" } else { "not ready" }, "checks": named});
    // A leap of the clock is only a warning: the server still works.
    if let Some(leap) = sessions.leap() {
        body["warnings"] = serde_json::json!([leap.to_string()]);
    }
    answer.json(body)
}

/// `GET /metrics`: OpenMetrics text. Labels come from closed lists, except kids, of which a ring has only a few.
pub(crate) async fn metrics(bulla: web::Data<Bulla>) -> HttpResponse {
    let mut registry = Registry::with_prefix("bulla");
    registry.register_collector(Box::new(Snapshot(bulla.get_ref().clone())));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

#[derive(Debug)]
struct Snapshot(Bulla);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let shared = &self.0.0;
        let (sessions, tokens) = (shared.sessions(), &shared.sessions().parts().tokens);
        let counted =
            sessions.counters().all().map(|(name, count)| (vec![("event", name.to_owned())], count));
        counters(&mut encoder, "events", "Events of tokens and sessions", counted.collect())?;
        let answers = shared.answers.iter().enumerate().skip(1);
        let answers = answers.map(|(class, count): (usize, &AtomicU64)| {
            (vec![("class", format!("{class}xx"))], count.load(Ordering::Relaxed))
        });
        counters(&mut encoder, "answers", "HTTP answers by status class", answers.collect())?;
        let sealed = tokens.sealed().into_iter().map(|(kid, count)| (vec![("kid", kid.to_string())], count));
        counters(
            &mut encoder,
            "sealed",
            "Tokens that this process has sealed with each key",
            sealed.collect(),
        )?;
        let hashed = ConstCounter::new(shared.installation.hasher.hashed());
        hashed.encode(encoder.encode_descriptor(
            "hashed",
            "Passwords hashed",
            None,
            hashed.metric_type(),
        )?)?;
        let refused = ConstCounter::new(shared.intake.refused());
        refused.encode(encoder.encode_descriptor(
            "connections_refused",
            "Connections closed because incomplete requests use all the memory reserved for them",
            None,
            refused.metric_type(),
        )?)?;
        let ring = tokens.ring();
        for (name, help, value) in [
            ("revocations", "Live revocations held in memory", sessions.denylist().len() as f64),
            (
                "feed_age_seconds",
                "Seconds since the revocation feed was last known to be complete",
                sessions.denylist().age().as_secs_f64(),
            ),
            ("ring_generation", "Generation of the key ring in force", ring.generation as f64),
            (
                "ring_good",
                "1 if the key ring in force is the one in the keys directory, else 0",
                f64::from(u8::from(self.0.ring_is_good())),
            ),
            (
                "hashing",
                "Passwords that are being hashed or waiting to be hashed",
                shared.installation.hasher.waiting() as f64,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let lag = sessions.denylist().lag();
        let help =
            "Seconds from a revocation until it is in force in this process, by the clock of the store";
        lag.encode(encoder.encode_descriptor("revocation_lag_seconds", help, None, lag.metric_type())?)
    }
}

type Counted = Vec<(Vec<(&'static str, String)>, u64)>;

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counted: Counted,
) -> std::fmt::Result {
    let kind = ConstCounter::new(0u64).metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, count) in counted {
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
