//! Renew: step 2 of the ladder, the edge around the pure rule of [`super::refresh`].

use std::time::Duration;

use crate::{
    clock::Timestamp,
    session::{
        Denied, Principal, Sessions,
        refresh::{self, Outcome, Rule},
        sessions::Presented,
    },
    store::{AuditEvent, Device, SessionChange, SessionRow, StoreError, Transport, User, Written},
    token::SealedToken,
};

/// How often a row may change under a judgement before the answer is "cannot tell".
const TRIES: usize = 16;

/// What a request may do with a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewMode {
    /// The full rule.
    Rotate,
    /// Serve the request by the row, rotate nothing, hand nothing out (cross-site navigation).
    ServeOnly,
}

/// A refresh token that held.
#[derive(Debug)]
pub struct Renewed {
    /// Who, with present roles and claims.
    pub principal: Principal,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// A new access token; none under [`RenewMode::ServeOnly`].
    pub access: Option<SealedToken>,
    /// A new refresh token, if the rule hands one out.
    pub refresh: Option<SealedToken>,
    /// What is left of the session's life: the longest `Max-Age` its refresh cookie can have.
    pub refresh_max_age: Duration,
    /// `rotate`, `repeat`, `pardon`, `forward`: for logs.
    pub outcome: &'static str,
}

/// What was decided, and written if there was something to write.
struct Decided {
    outcome: &'static str,
    /// The generation of the refresh token to hand out.
    carries: Option<u64>,
    idle_expires_at: Timestamp,
}

impl Sessions {
    /// Step 2: by the refresh token's row. Reads row and user, judges, writes only if the row is still the one that was
    /// judged, else judges anew. `now` is the store's.
    pub async fn renew(&self, refresh: &str, device: &Device, mode: RenewMode) -> Result<Renewed, Denied> {
        let outcome = self.renew_opened(refresh, device, mode).await;
        self.counters.add(match &outcome {
            Ok(renewed) => match renewed.outcome {
                "rotate" => "refresh.rotate",
                "pardon" => "refresh.pardon",
                "forward" => "refresh.forward",
                _ => "refresh.repeat",
            },
            Err(Denied::Reuse) => "refresh.reuse",
            Err(Denied::Token(_) | Denied::Session) => "refresh.invalid",
            Err(_) => "refresh.cannot_tell",
        });
        outcome
    }

    async fn renew_opened(&self, refresh: &str, device: &Device, mode: RenewMode) -> Result<Renewed, Denied> {
        let presented = self.open_refresh(refresh)?;
        for _ in 0..TRIES {
            let (row, now) = self.parts.store.session(presented.sid).await?;
            let row = row.filter(|row| row.user_id == presented.user_id).ok_or(Denied::Session)?;
            let user = self.parts.users.find(&row.user_id).await?.ok_or(Denied::Session)?;
            let Some(decided) = self.decide(&row, &presented, device, now, mode).await? else {
                self.counters.add("session.conflict");
                continue;
            };
            return self.answer(&user, &row, &presented, &decided, now, mode);
        }
        Err(StoreError::Unavailable("the session kept changing".into()).into())
    }

    /// Judges and writes; `None` if the row was no longer the one that was judged.
    async fn decide(
        &self,
        row: &SessionRow,
        presented: &Presented,
        device: &Device,
        now: Timestamp,
        mode: RenewMode,
    ) -> Result<Option<Decided>, Denied> {
        let policy = &self.parts.policy;
        let said = refresh::Presented {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: &device.user_agent,
        };
        let outcome = refresh::judge(&row.into(), &said, now, &Rule::from(policy));
        let decided = |outcome, carries| Decided { outcome, carries, idle_expires_at: row.idle_expires_at };
        let idle = policy.refresh_idle;
        let slid = |outcome, to| Decided {
            idle_expires_at: now.plus(idle).min(row.expires_at),
            ..decided(outcome, Some(to))
        };
        let evidence = || evidence(row, presented, device, now);
        let (decided, change, event) = match outcome {
            Outcome::Invalid => return Err(Denied::Session),
            Outcome::Reuse => return self.end_stolen(row, evidence()).await,
            Outcome::RepeatAccess => return Ok(Some(decided("repeat", None))),
            Outcome::RepeatSame | Outcome::PardonAgain => {
                return Ok(Some(decided("repeat", Some(row.generation))));
            }
            _ if mode == RenewMode::ServeOnly => return Ok(Some(decided("serve", None))),
            Outcome::Rotate { to } => (slid("rotate", to), SessionChange::Rotate { to, idle, now }, None),
            Outcome::Forward { to } => {
                tracing::error!(sid = %row.sid, "a refresh token is ahead of its row: was an old backup restored?");
                let event = event("refresh.forward", row, evidence());
                (slid("forward", to), SessionChange::Rotate { to, idle, now }, Some(event))
            }
            Outcome::Pardon { generation } => {
                let event = event("refresh.pardon", row, evidence());
                (
                    decided("pardon", Some(row.generation)),
                    SessionChange::Pardon { generation, now },
                    Some(event),
                )
            }
        };
        match self.parts.store.change_session(row, change, event).await? {
            Written::Applied => Ok(Some(decided)),
            Written::Lost => Ok(None),
        }
    }

    /// Theft: the row goes, the evidence stays.
    async fn end_stolen(
        &self,
        row: &SessionRow,
        evidence: serde_json::Value,
    ) -> Result<Option<Decided>, Denied> {
        match self.parts.store.delete_judged(row, event("refresh.reuse", row, evidence)).await? {
            Written::Applied => {
                tracing::warn!(sid = %row.sid, user = %row.user_id, "an outdated refresh token was used again: the session is ended");
                Err(Denied::Reuse)
            }
            Written::Lost => Ok(None),
        }
    }

    fn answer(
        &self,
        user: &User,
        row: &SessionRow,
        presented: &Presented,
        decided: &Decided,
        now: Timestamp,
        mode: RenewMode,
    ) -> Result<Renewed, Denied> {
        // Sealed after the decision, with the roles and claims of now.
        let (principal, access) = self.seal_access(user, row.sid)?;
        let refresh = match (mode, decided.carries) {
            (RenewMode::Rotate, Some(generation)) => {
                Some(self.seal_refresh(&row.user_id, row.sid, generation, &presented.key)?)
            }
            _ => None,
        };
        Ok(Renewed {
            principal,
            transport: row.transport,
            access: (mode == RenewMode::Rotate).then_some(access),
            refresh,
            refresh_max_age: decided.idle_expires_at.since(now).min(self.parts.policy.refresh_idle),
            outcome: decided.outcome,
        })
    }
}

fn event(name: &'static str, row: &SessionRow, evidence: serde_json::Value) -> AuditEvent {
    AuditEvent::new(name, row.user_id.to_string(), row.sid.to_string()).with(evidence)
}

fn evidence(row: &SessionRow, presented: &Presented, device: &Device, now: Timestamp) -> serde_json::Value {
    serde_json::json!({
        "presented_generation": presented.generation,
        "generation": row.generation,
        "age_ms": now.since(row.rotated_at).as_millis() as u64,
        "began_by": row.device,
        "presented_by": device,
    })
}
