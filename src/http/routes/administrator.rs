//! Authenticates administrators: a person whose role `admin` is read from the store at each request, or a machine whose token has
//! the scope `admin`.

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, web};
use futures_util::future::LocalBoxFuture;

use crate::{
    http::{Bulla, Problem},
    session::{Machine, Principal},
    store::{Actor, AuditEvent, Caller, Event, SessionRow, User},
};

/// The role of a person, and the scope of a client, that may administer.
pub(crate) const ADMIN: &str = "admin";

/// An administrator who sends the request.
#[derive(Debug)]
pub(crate) struct Administrator {
    /// The actor of the audit events.
    actor: Actor,
    caller: Caller,
}

impl Administrator {
    /// The audit event of an action. The store performs the action only if, in the same transaction, the caller is still an
    /// administrator.
    pub(crate) fn event(&self, event: Event) -> AuditEvent {
        AuditEvent::new(event, self.actor.clone(), "").by(self.caller.clone())
    }
}

impl FromRequest for Administrator {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let bulla = request.app_data::<web::Data<Bulla>>().cloned();
        let principal = request.extensions().get::<Principal>().cloned();
        let service = request.extensions().get::<Machine>().cloned();
        let request = request.clone();
        Box::pin(async move {
            let bulla = bulla.ok_or_else(Problem::internal)?;
            match (principal, service) {
                (Some(principal), _) if request.method().is_safe() => person(&bulla, &principal).await,
                (Some(principal), _) => in_person(&bulla, &request, &principal).await,
                (None, Some(service)) => machine(&bulla, &service).await,
                (None, None) => Err(Problem::unauthorized()),
            }
        })
    }
}

/// Checks a person for a request that only reads. An app may act for the person only if the token, the row and the client all still
/// have the scope `admin`.
async fn person(bulla: &Bulla, principal: &Principal) -> Result<Administrator, Problem> {
    let (row, user) = bulla.sessions().confirm(principal).await?;
    let let_do = match (principal.grant(), &row.grant) {
        (None, None) => true,
        (Some(said), Some(has)) if said.client == has.client => {
            let (client, _) = bulla.sessions().parts().store.client(&has.client).await?;
            let client = client.filter(|client| !client.disabled);
            client.is_some_and(|client| said.scope.and(&has.scope).and(&client.scopes).contains(ADMIN))
        }
        _ => false,
    };
    if let_do { administrator(&row, &user) } else { Err(Problem::forbidden()) }
}

/// Checks a person for a request that changes something. The request must present the session itself. With an access token alone or
/// the token of an app, an attacker could otherwise create an administrator that outlives the token.
async fn in_person(
    bulla: &Bulla,
    request: &HttpRequest,
    principal: &Principal,
) -> Result<Administrator, Problem> {
    let shown = bulla.0.presented_session(request, principal).await?;
    administrator(&shown.row, &shown.user)
}

fn administrator(row: &SessionRow, user: &User) -> Result<Administrator, Problem> {
    match user.roles.iter().any(|role| role == ADMIN) {
        true => Ok(Administrator {
            actor: (&user.id).into(),
            caller: Caller::Person { sid: row.sid, user: user.id.clone(), role: Some(ADMIN) },
        }),
        false => Err(Problem::forbidden()),
    }
}

async fn machine(bulla: &Bulla, service: &Machine) -> Result<Administrator, Problem> {
    let client = bulla.sessions().confirm_service(service).await?;
    match service.scope().contains(ADMIN) && client.scopes.contains(ADMIN) {
        true => Ok(Administrator {
            actor: service.client().into(),
            caller: Caller::Client { id: service.client().clone(), scope: ADMIN },
        }),
        false => Err(Problem::forbidden()),
    }
}
