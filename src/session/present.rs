//! Checks whether a request presents a live session by its refresh token. An access token alone does not prove that.

use crate::{
    clock::Timestamp,
    session::{
        Denied, Sessions,
        refresh::{self, Outcome, Rule},
    },
    store::{Device, SessionRow, StoreError, User, Written},
};

/// How often a row can change during the judgement before the answer is "cannot tell".
const TRIES: usize = 16;

/// A live session whose refresh token its row would rotate or repeat now.
#[derive(Clone, Debug)]
pub struct Present {
    /// The row.
    pub row: SessionRow,
    /// The user of the session, with the current roles.
    pub user: User,
    /// The store's time when the row was read.
    pub now: Timestamp,
}

impl Sessions {
    /// The session of a refresh token, if its row would rotate or repeat the token now. `None` if only a pardon would accept the
    /// token, or if the token is ahead of the row. Renews nothing. As in a renewal, reuse ends the session, and another address or
    /// agent is recorded.
    ///
    /// # Errors
    ///
    /// `Denied::Token` if the token does not open, `Denied::Session` if it belongs to no live session of a login on Bulla's pages,
    /// `Denied::Reuse` if it was outdated and the session has just been ended, `Denied::CannotTell` if the store does not answer.
    pub async fn present(&self, refresh: &str, device: &Device) -> Result<Option<Present>, Denied> {
        let presented = self.open_refresh(refresh)?;
        let said = refresh::RefreshAttempt {
            secret_hash: presented.key.sha256(),
            generation: presented.generation,
            agent: &device.user_agent,
        };
        for _ in 0..TRIES {
            let (found, now) = self.parts().users.of_session(&*self.parts().store, presented.sid).await?;
            let own = |row: &SessionRow| row.user_id == presented.user_id && row.grant.is_none();
            let (row, user) = found.filter(|(row, _)| own(row)).ok_or(Denied::Session)?;
            let user = user.ok_or(Denied::Session)?;
            match refresh::decide(&(&row).into(), &said, now, &Rule::from(&self.parts().policy)) {
                // The guard may have pardoned this same token for this request; shortly after a pardon the token is a repeat.
                Outcome::RepeatSame if row.pardoned_gen == Some(presented.generation) => return Ok(None),
                Outcome::Rotate { .. } | Outcome::RepeatAccess | Outcome::RepeatSame => {
                    self.record_move(&row, device, now).await?;
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
        Err(StoreError::Unavailable("other requests changed the session repeatedly".into()).into())
    }
}
