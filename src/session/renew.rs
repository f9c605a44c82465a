//! Renews a session: step 2 of authentication. The rule itself is the pure function in [`super::refresh`]; this file does its I/O.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    session::{
        Counter, Denied, Principal, Sessions,
        refresh::{self, Outcome, Rule},
        sessions::OpenedRefresh,
    },
    store::{AuditEvent, Device, Event, Grant, SessionChange, SessionRow, StoreError, Transport, Written},
    token::SealedToken,
};

/// How often a row can change during the judgement before the answer is "cannot tell".
const TRIES: usize = 16;

/// A renewed session.
#[derive(Debug)]
pub struct Renewed {
    /// The person, with the current roles and claims.
    pub principal: Principal,
    /// How the session's tokens travel.
    pub transport: Transport,
    /// A new access token.
    pub access: SealedToken,
    /// A new refresh token, if the rule issues one.
    pub refresh: Option<SealedToken>,
    /// The rest of the session's life: the longest `Max-Age` of its refresh cookie.
    pub refresh_max_age: Duration,
    /// The effect on the session.
    pub outcome: Renewal,
}

/// The effect of a renewal on its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The refresh token was rotated.
    Rotate,
    /// The row was not changed: only an access token was issued, or the last answer was repeated.
    Repeat,
    /// An outdated refresh token was pardoned.
    Pardon,
    /// The refresh token was ahead of its row, and the row was moved forward to it.
    Forward,
}

/// The decision on a presented refresh token.
struct Decided {
    outcome: Renewal,
    /// The generation of the refresh token to issue.
    carries: Option<u64>,
    idle_expires_at: Timestamp,
    write: Write,
}

/// The change to write before the answer is sent.
enum Write {
    Nothing,
    Change(SessionChange, Option<AuditEvent>),
    End(AuditEvent),
}

impl Sessions {
    /// Step 2: authenticates by the row of the refresh token. Reads row and user, judges, and writes only if the row is still the
    /// one that was judged; otherwise judges again. All times are the store's.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::Session` if it belongs to no live session or its user is disabled,
    /// `Denied::Reuse` if it was outdated and the session has just been ended, `Denied::CannotTell` if the store does not answer or
    /// other requests change the row repeatedly, `Denied::Seal` if a token can't be sealed.
    pub async fn renew(&self, refresh: &str, device: &Device) -> Result<Renewed, Denied> {
        self.renew_and_count(refresh, device, None).await
    }

    /// Like [`Self::renew`], for a session that the client of `grant` holds. The access token has the scope of `grant`.
    ///
    /// # Errors
    ///
    /// As [`Self::renew`].
    pub async fn renew_for(&self, grant: &Grant, refresh: &str, device: &Device) -> Result<Renewed, Denied> {
        self.renew_and_count(refresh, device, Some(grant)).await
    }

    async fn renew_and_count(
        &self,
        refresh: &str,
        device: &Device,
        grant: Option<&Grant>,
    ) -> Result<Renewed, Denied> {
        let outcome = self.try_renew(refresh, device, grant).await;
        self.counters.add(match &outcome {
            Ok(renewed) => match renewed.outcome {
                Renewal::Rotate => Counter::RefreshRotate,
                Renewal::Repeat => Counter::RefreshRepeat,
                Renewal::Pardon => Counter::RefreshPardon,
                Renewal::Forward => Counter::RefreshForward,
            },
            Err(Denied::Reuse) => Counter::RefreshReuse,
            Err(Denied::Token(_) | Denied::Session) => Counter::RefreshInvalid,
            Err(_) => Counter::RefreshCannotTell,
        });
        outcome
    }

    async fn try_renew(
        &self,
        refresh: &str,
        device: &Device,
        grant: Option<&Grant>,
    ) -> Result<Renewed, Denied> {
        let presented = self.open_refresh(refresh)?;
        let holder = grant.map(|grant| &grant.client);
        for _ in 0..TRIES {
            let (found, now) = self.parts.users.of_session(&*self.parts.store, presented.sid).await?;
            let of_these = |row: &SessionRow| row.user_id == presented.user_id && row.holder() == holder;
            let (row, user) = found.filter(|(row, _)| of_these(row)).ok_or(Denied::Session)?;
            let user = user.ok_or(Denied::Session)?;
            let decided = self.decide_write(&row, &presented, device, now)?;
            // The tokens are sealed after the decision, with the current roles and claims, and before the write. If sealing fails,
            // no rotation is used up.
            let answer = match &decided.write {
                Write::End(_) => Err(Denied::Reuse),
                Write::Nothing | Write::Change(..) => {
                    let sealed = self.seal_access(&user, row.sid, grant.cloned())?;
                    Ok(self.answer(sealed, &row, &presented, &decided, now)?)
                }
            };
            if answer.is_ok() {
                self.record_move(&row, device, now).await?;
            }
            match self.write(&row, decided.write).await? {
                Written::Applied => {
                    self.check_grant(grant).await?;
                    return answer;
                }
                Written::Lost => self.counters.add(Counter::SessionConflict),
            }
        }
        Err(StoreError::Unavailable("other requests changed the session repeatedly".into()).into())
    }

    /// Checks that the client may still hold the tokens that have just been sealed for it. The check comes after the sealing: a
    /// later change revokes the tokens of the client that were issued until then, including these.
    pub(super) async fn check_grant(&self, grant: Option<&Grant>) -> Result<(), Denied> {
        let Some(grant) = grant else { return Ok(()) };
        let (client, _) = self.parts.store.client(&grant.client).await?;
        let client = client.filter(|client| !client.disabled).ok_or(Denied::Session)?;
        match grant.may_be_held_by(&client) {
            true => Ok(()),
            // The client has fewer scopes now. On a retry it gets a token for the remaining ones.
            false => Err(StoreError::Unavailable("the client was changed during the renewal".into()).into()),
        }
    }

    /// Judges the token; writes nothing.
    fn decide_write(
        &self,
        row: &SessionRow,
        presented: &OpenedRefresh,
        device: &Device,
        now: Timestamp,
    ) -> Result<Decided, Denied> {
        let policy = &self.parts.policy;
        let said = refresh::RefreshAttempt {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: &device.user_agent,
        };
        let idle = policy.refresh_idle;
        let stays = |outcome, carries| Decided {
            outcome,
            carries,
            idle_expires_at: row.idle_expires_at,
            write: Write::Nothing,
        };
        let slides = |outcome, to, event| Decided {
            outcome,
            carries: Some(to),
            idle_expires_at: now.plus(idle).min(row.expires_at),
            write: Write::Change(SessionChange::Rotate { to, idle, now }, event),
        };
        let event = |kind| event(kind, row, evidence(row, presented, device, now));
        Ok(match refresh::decide(&row.into(), &said, now, &Rule::from(policy)) {
            Outcome::Invalid => return Err(Denied::Session),
            // Reuse renews nothing, so the `Renewal` of this decision is not used.
            Outcome::Reuse => {
                Decided { write: Write::End(event(Event::RefreshReuse)), ..stays(Renewal::Repeat, None) }
            }
            Outcome::RepeatAccess => stays(Renewal::Repeat, None),
            Outcome::RepeatSame | Outcome::PardonAgain => stays(Renewal::Repeat, Some(row.generation)),
            Outcome::Rotate { to } => slides(Renewal::Rotate, to, None),
            Outcome::Forward { to } => slides(Renewal::Forward, to, Some(event(Event::RefreshForward))),
            Outcome::Pardon { generation } => {
                let change = SessionChange::Pardon { generation, now };
                Decided {
                    write: Write::Change(change, Some(event(Event::RefreshPardon))),
                    ..stays(Renewal::Pardon, Some(row.generation))
                }
            }
        })
    }

    /// Records that a session is renewed from another address or agent than before, once per change. The row gets the new values;
    /// if sessions are bound to their agent, it keeps the first agent.
    pub(super) async fn record_move(
        &self,
        row: &SessionRow,
        device: &Device,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.moves.is_new(row, device, now) {
            return Ok(());
        }
        let mut to = device.clone();
        if self.parts.policy.bind_agent {
            to.user_agent.clone_from(&row.device.user_agent);
        }
        let detail = serde_json::json!({"from": row.device, "to": device, "generation": row.generation});
        // If the write is lost, another request has recorded the change or the session has ended.
        self.parts.store.change_device(row, &to, event(Event::RefreshMoved, row, detail)).await.map(drop)
    }

    /// Writes the decision if the row is still the one that was judged.
    async fn write(&self, row: &SessionRow, write: Write) -> Result<Written, StoreError> {
        match write {
            Write::Nothing => Ok(Written::Applied),
            Write::Change(change, event) => {
                let ahead = event.as_ref().is_some_and(|event| event.event == Event::RefreshForward);
                let written = self.parts.store.change_session(row, change, event).await?;
                if ahead && written == Written::Applied {
                    tracing::error!(sid = %row.sid, "a refresh token is ahead of its row; probably an old backup of \
                        the database was restored");
                }
                Ok(written)
            }
            Write::End(event) => self.end_if_unchanged(row, event).await,
        }
    }

    async fn end_if_unchanged(&self, row: &SessionRow, event: AuditEvent) -> Result<Written, StoreError> {
        let written = self.parts.store.delete_session_if_unchanged(row, event).await?;
        if written == Written::Applied {
            tracing::warn!(sid = %row.sid, user = %row.user_id, "an outdated refresh token was used again, so the \
                session was ended");
        }
        Ok(written)
    }

    /// Ends a session whose outdated refresh token was presented, if its row is still the one that was judged.
    pub(super) async fn end_reused(
        &self,
        row: &SessionRow,
        presented: &OpenedRefresh,
        device: &Device,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let ended = self
            .end_if_unchanged(row, event(Event::RefreshReuse, row, evidence(row, presented, device, now)))
            .await?;
        if ended == Written::Applied {
            self.counters.add(Counter::RefreshReuse);
        }
        Ok(ended)
    }

    fn answer(
        &self,
        (principal, access): (Principal, SealedToken),
        row: &SessionRow,
        presented: &OpenedRefresh,
        decided: &Decided,
        now: Timestamp,
    ) -> Result<Renewed, Denied> {
        let seal = |generation| {
            let audience = presented.audience.as_ref();
            self.seal_refresh(&row.user_id, row.sid, generation, &presented.key, audience)
        };
        let refresh = decided.carries.map(seal).transpose()?;
        Ok(Renewed {
            principal,
            transport: row.transport,
            access,
            refresh,
            refresh_max_age: decided.idle_expires_at.since(now).min(self.parts.policy.refresh_idle),
            outcome: decided.outcome,
        })
    }
}

fn event(event: Event, row: &SessionRow, evidence: serde_json::Value) -> AuditEvent {
    AuditEvent::new(event, &row.user_id, row.sid.to_string()).with(evidence)
}

fn evidence(
    row: &SessionRow,
    presented: &OpenedRefresh,
    device: &Device,
    now: Timestamp,
) -> serde_json::Value {
    serde_json::json!({
        "presented_generation": presented.generation,
        "generation": row.generation,
        "age_ms": now.since(row.rotated_at).as_millis() as u64,
        "began_by": row.device,
        "presented_by": device,
    })
}
