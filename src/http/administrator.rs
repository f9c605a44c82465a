//! Who may administer: role `admin`, read from the store at each request, or a machine whose token says `admin`.

use actix_web::{FromRequest, HttpMessage as _, HttpRequest, dev::Payload, web};
use futures_util::future::LocalBoxFuture;

use super::Bulla;
use crate::{
    http::Problem,
    session::{Machine, Principal},
};

/// Role of people, and scope of clients.
const ADMIN: &str = "admin";

/// Somebody who may administer.
#[derive(Debug)]
pub(super) struct Administrator(String);

impl Administrator {
    /// As audit events name them.
    pub(super) fn actor(&self) -> &str {
        &self.0
    }
}

impl FromRequest for Administrator {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let bulla = request.app_data::<web::Data<Bulla>>().cloned();
        let principal = request.extensions().get::<Principal>().cloned();
        let service = request.extensions().get::<Machine>().cloned();
        Box::pin(async move {
            let bulla = bulla.ok_or_else(Problem::internal)?;
            match (principal, service) {
                (Some(principal), _) => person(&bulla, &principal).await,
                (None, Some(service)) => machine(&bulla, &service).await,
                (None, None) => Err(Problem::unauthorized()),
            }
        })
    }
}

/// Through an app only if it was let do so, and may still: by the row and the client, as well as by the token.
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
    match let_do && user.roles.iter().any(|role| role == ADMIN) {
        true => Ok(Administrator(user.id.to_string())),
        false => Err(Problem::forbidden()),
    }
}

async fn machine(bulla: &Bulla, service: &Machine) -> Result<Administrator, Problem> {
    let client = bulla.sessions().confirm_service(service).await?;
    match service.scope().contains(ADMIN) && client.scopes.contains(ADMIN) {
        true => Ok(Administrator(service.id())),
        false => Err(Problem::forbidden()),
    }
}
