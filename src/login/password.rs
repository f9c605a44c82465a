//! Begins a session by name and password, and checks the current password of a person who is signed in.

use crate::{
    login::{Account, Failed, Logins, Requester, attempts::trimmed},
    problem::Problem,
    secret::SecretText,
    session::{Denied, Issued},
    store::{Actor, AuditEvent, Device, Event, LoginError, Proof, ProvenAt, StoreError, Transport, User},
};

/// The maximum number of times that a password is checked again because its hash was replaced meanwhile.
const MOST_PROOFS: u32 = 3;

impl Logins {
    /// Checks a password under the throttle and begins a session. `replaces` is the refresh token of the same request; its session
    /// ends when the new one begins.
    pub(crate) async fn by_password(
        &self,
        requester: &Requester,
        name: &str,
        password: &SecretText,
        transport: Transport,
        replaces: Option<&str>,
    ) -> Result<Issued, Problem> {
        let check = async {
            let (name, mut proofs) = (trimmed(name), 1);
            loop {
                let device = requester.device.clone();
                match self.prove_and_begin(name, password, transport, device, replaces).await {
                    // The new hash can belong to the same password: the hash was strengthened, or the password was set to the same
                    // value again.
                    Err(LoginError::Store(StoreError::Stale)) if proofs < MOST_PROOFS => proofs += 1,
                    begun => {
                        return begun.map_err(|error| {
                            failed(error, "wrong name or password", Problem::wrong_credentials())
                        });
                    }
                }
            }
        };
        self.attempt(Account::User(name), requester, check).await
    }

    /// Checks the current password of a person who is signed in, with the same throttle as a login. Returns the value against which
    /// it was checked, such as the stored hash.
    pub(crate) async fn check_current_password(
        &self,
        requester: &Requester,
        user: &User,
        password: &SecretText,
    ) -> Result<SecretText, Problem> {
        let check = async {
            let proven = match self.sessions.parts().users.prove(&user.name, password).await {
                Ok((found, verified)) if found.id == user.id => Ok(verified),
                Ok(_) => Err(LoginError::Wrong),
                Err(error) => Err(error),
            };
            proven.map_err(|error| failed(error, "wrong current password", Problem::wrong_password()))
        };
        self.attempt(Account::User(&user.name), requester, check).await
    }

    /// Checks a password once, and begins a session only if the check still holds.
    async fn prove_and_begin(
        &self,
        name: &str,
        password: &SecretText,
        transport: Transport,
        device: Device,
        presented: Option<&str>,
    ) -> Result<Issued, LoginError> {
        let users = &self.sessions.parts().users;
        let (user, against) = users.prove(name, password).await?;
        let in_store = users.keeps_passwords_in_store();
        let password_hash = in_store.then_some(against);
        let proof = Proof { at: ProvenAt::Now, password_hash, ..Proof::default() };
        let issued = match self.sessions.begin_by(&user, proof, transport, device, presented).await {
            Ok(issued) => issued,
            Err(Denied::CannotTell(error)) => return Err(error.into()),
            Err(Denied::Seal(error)) => {
                tracing::error!(%error, "a token could not be sealed");
                return Err(StoreError::Unavailable("a token could not be sealed".into()).into());
            }
            // The user was disabled or deleted after the password was checked.
            Err(Denied::Session | Denied::Token(_) | Denied::Reuse) => return Err(LoginError::Wrong),
        };
        match in_store {
            true => Ok(issued),
            false => self.confirm_password(issued, users.still_valid(&user, name, password).await).await,
        }
    }

    /// For users whose passwords are not in the store: checks the password again after the session has begun. If it is no longer
    /// valid, the session ends before its tokens are issued.
    async fn confirm_password(
        &self,
        issued: Issued,
        still_valid: Result<bool, LoginError>,
    ) -> Result<Issued, LoginError> {
        let why = match still_valid {
            Ok(true) => return Ok(issued),
            Ok(false) => LoginError::Wrong,
            Err(error) => error,
        };
        let event = AuditEvent::new(Event::SessionRevoked, Actor::System, "")
            .with(serde_json::json!({"reason": "the password was changed during the login"}));
        self.sessions.end(issued.row.sid, event).await?;
        Err(why)
    }
}

/// Whether an error counts as a failed attempt. `wrong` is the answer to a wrong password.
fn failed(error: LoginError, reason: &'static str, wrong: Problem) -> Failed<Problem> {
    match error {
        LoginError::Wrong => Failed::Wrong(reason, wrong),
        LoginError::Busy => Failed::Undecided(Problem::busy()),
        LoginError::Store(error) => Failed::Undecided(error.into()),
    }
}
