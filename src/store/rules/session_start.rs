//! Plans the beginning of a session: the row to write, and the sessions that end.

use crate::{
    clock::Timestamp,
    ids::Sid,
    store::{Actor, AuditEvent, Event, NewSession, SessionRow, Transport},
};

/// A session that is about to begin, with its effects on other sessions.
#[derive(Debug)]
pub(in crate::store) struct SessionStart {
    /// The row to write.
    pub(in crate::store) row: SessionRow,
    /// Whether the row exists and is reused. Otherwise it is inserted.
    pub(in crate::store) takes_over: bool,
    /// The sessions that end, each with its event. Some may have been deleted meanwhile; an event is written only for those that
    /// exist.
    pub(in crate::store) ends: Vec<(Sid, AuditEvent)>,
}

impl SessionStart {
    /// Plans the beginning. `live` has the user's live sessions at `now`, newest first. `cap` counts the new session.
    pub(in crate::store) fn plan(
        new: &NewSession,
        live: &[SessionRow],
        cap: u32,
        actor: &Actor,
        now: Timestamp,
    ) -> Self {
        let replaced = |sid: Sid| new.replaces == Some(sid);
        let basic = |transport| transport == Transport::Basic;
        let mut own = live.iter().filter(|_| new.takes_over_basic && basic(new.transport));
        let own = own.find(|row| basic(row.transport) && row.device == new.device && !replaced(row.sid));
        let mut row = new.row(now);
        if let Some(own) = own {
            row.sid = own.sid;
            row.expires_at = row.expires_at.max(own.expires_at);
        }
        let ended = |who: &Actor, reason: &str| {
            AuditEvent::new(Event::SessionRevoked, who.clone(), "")
                .with(serde_json::json!({ "reason": reason }))
        };
        let others = live.iter().map(|other| other.sid).filter(|sid| *sid != row.sid && !replaced(*sid));
        let beyond = others.skip(cap.saturating_sub(1) as usize);
        let beyond = beyond.map(|sid| (sid, ended(&Actor::System, "too many sessions")));
        let ends =
            new.replaces.map(|sid| (sid, ended(actor, "new login"))).into_iter().chain(beyond).collect();
        Self { row, takes_over: own.is_some(), ends }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        ids::UserId,
        secret::Digest,
        store::{Device, Proof, ProvenAt, SessionChange},
    };

    fn new(n: u8) -> NewSession {
        NewSession {
            sid: Sid([n; 16]),
            user_id: UserId::new("7").unwrap(),
            secret_hash: Digest([n; 32]),
            transport: Transport::Cookie,
            device: Device::default(),
            idle: Duration::from_secs(60),
            life: Duration::from_secs(50),
            replaces: None,
            takes_over_basic: false,
            grant: None,
            login: None,
            proof: Proof::default(),
        }
    }

    fn ended(beginning: &SessionStart) -> Vec<(u8, &str)> {
        let reason = |event: &AuditEvent| event.detail["reason"].as_str().unwrap().to_owned();
        let all: Vec<_> = beginning.ends.iter().map(|(sid, event)| (sid.0[0], reason(event))).collect();
        all.into_iter().map(|(n, why)| (n, if why == "new login" { "replaced" } else { "cap" })).collect()
    }

    #[test]
    fn the_oldest_sessions_beyond_the_cap_end_and_the_replaced_one_is_not_counted() {
        let now = Timestamp::from_millis(1000);
        let live: Vec<SessionRow> = [5, 4, 3, 2].map(|n| new(n).row(now)).into();
        let plan = |cap, replaces| {
            SessionStart::plan(&NewSession { replaces, ..new(9) }, &live, cap, &Actor::System, now)
        };
        assert_eq!(ended(&plan(5, None)), []);
        assert_eq!(ended(&plan(3, None)), [(3, "cap"), (2, "cap")]);
        assert_eq!(ended(&plan(3, Some(Sid([5; 16])))), [(5, "replaced"), (2, "cap")]);
        assert_eq!(ended(&plan(1, Some(Sid([77; 16])))).len(), 5);
    }

    #[test]
    fn basic_reuses_its_row_of_the_same_device_and_never_shortens_it() {
        let now = Timestamp::from_millis(1000);
        let basic = |n| NewSession { transport: Transport::Basic, ..new(n) };
        let mut own = basic(3).row(now);
        own.expires_at = now.plus(Duration::from_secs(500));
        let elsewhere = Device { ip: "192.0.2.1".into(), ..Device::default() };
        let other = NewSession { device: elsewhere, ..basic(4) }.row(now);
        let live = [new(5).row(now), other, own.clone()];
        let asks = NewSession { takes_over_basic: true, ..basic(9) };
        let taken = SessionStart::plan(&asks, &live, 20, &Actor::System, now);
        assert!(taken.takes_over && taken.ends.is_empty());
        assert_eq!((taken.row.sid, taken.row.secret_hash), (own.sid, Digest([9; 32])));
        assert_eq!(taken.row.expires_at, own.expires_at);
        for other in [
            NewSession { replaces: Some(own.sid), ..asks.clone() },
            NewSession { takes_over_basic: false, ..asks.clone() },
            NewSession { transport: Transport::Cookie, ..asks },
        ] {
            assert!(!SessionStart::plan(&other, &live, 20, &Actor::System, now).takes_over);
        }
    }

    #[test]
    fn the_time_of_a_proof_is_never_later_than_the_row() {
        let (now, at) = (Timestamp::from_millis(5000), Timestamp::from_millis);
        for (proven, kept) in [
            (ProvenAt::Unknown, None),
            (ProvenAt::Now, Some(now)),
            (ProvenAt::At(at(4000)), Some(at(4000))),
            (ProvenAt::At(at(6000)), Some(now)),
        ] {
            let new = NewSession { proof: Proof { at: proven, ..Proof::default() }, ..new(1) };
            assert_eq!(new.row(now).auth_time, kept, "{proven:?}");
        }
    }

    #[test]
    fn the_idle_end_is_never_after_the_absolute_end() {
        let row = new(1).row(Timestamp::EPOCH);
        assert_eq!(row.idle_expires_at, row.expires_at);
        let later = Timestamp::from_millis(49_000);
        let rotated = row.after(SessionChange::Rotate { to: 1, idle: Duration::from_secs(60), now: later });
        assert_eq!((rotated.idle_expires_at, rotated.rotated_at), (row.expires_at, later));
    }
}
