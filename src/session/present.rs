//! Presence: whether a request brings a session itself, which its access token alone doesn't.

use crate::{
    clock::Timestamp,
    session::{
        Denied, Sessions,
        refresh::{self, Outcome, Rule},
    },
    store::{Device, SessionRow, StoreError, User, Written},
};

/// How often a row may change under a judgement before the answer is "cannot tell".
const TRIES: usize = 16;

/// A refresh token that its row would rotate or repeat now.
#[derive(Clone, Debug)]
pub struct Present {
    /// The row.
    pub row: SessionRow,
    /// Its user, with present roles.
    pub user: User,
    /// The store's time of the read.
    pub now: Timestamp,
}

impl Sessions {
    /// The session that a refresh token shows, if its row would rotate or repeat it now. None: only a pardon would let it
    /// pass, or the row lags behind it. Renews nothing; reuse ends the session, and another address or agent is written
    /// down, as everywhere.
    pub async fn present(&self, refresh: &str, device: &Device) -> Result<Option<Present>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let said = refresh::Presented {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: &device.user_agent,
        };
        for _ in 0..TRIES {
            let (found, now) = self.parts().users.of_session(&*self.parts().store, presented.sid).await?;
            let own = |row: &SessionRow| row.user_id == presented.user_id && row.grant.is_none();
            let (row, user) = found.filter(|(row, _)| own(row)).ok_or(Denied::Session)?;
            let user = user.ok_or(Denied::Session)?;
            match refresh::judge(&(&row).into(), &said, now, &Rule::from(&self.parts().policy)) {
                // The guard may have pardoned this very token for this request; shortly after a pardon it repeats.
                Outcome::RepeatSame if row.pardoned_gen == Some(presented.generation) => return Ok(None),
                Outcome::Rotate { .. } | Outcome::RepeatAccess | Outcome::RepeatSame => {
                    self.note_move(&row, device, now).await?;
                    return Ok(Some(Present { row, user, now }));
                }
                Outcome::Pardon { .. } | Outcome::PardonAgain | Outcome::Forward { .. } => return Ok(None),
                Outcome::Invalid => return Err(Denied::Session),
                Outcome::Reuse => match self.end_reused(&row, &presented, device, now).await? {
                    Written::Applied => return Err(Denied::Reuse),
                    Written::Lost => {}
                },
            }
        }
        Err(StoreError::Unavailable("the session kept changing".into()).into())
    }
}
