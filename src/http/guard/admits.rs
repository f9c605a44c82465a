//! The options of a guard, and its decision about a request. Both adapters use them, so that they admit the same requests.

use std::sync::Arc;

use crate::{
    http::{
        Problem,
        bulla::Shared,
        guard::ladder::Authenticated,
        wire::{request::Request, request_log},
    },
    session::{Denied, Machine, Principal},
    store::with_time_budget,
};

/// The programs that a guard admits besides people: those with one of these scopes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admits {
    apps: Apps,
    machines: Arc<[String]>,
}

#[derive(Clone, Debug)]
enum Apps {
    With(Arc<[String]>),
    Every,
}

impl Default for Apps {
    fn default() -> Self {
        Self::With(Arc::default())
    }
}

/// The decision about a request that needs no I/O.
#[derive(Debug)]
pub(crate) enum Decision {
    /// A machine with a valid service token.
    Machine(Machine),
    /// A person with a valid access token.
    Person(Principal),
    /// The request is refused.
    Refused(Problem),
    /// Further steps must be tried, by [`Admits::authenticate_request`].
    Undecided(Option<Denied>),
}

impl Admits {
    /// Also admits tokens of apps with this scope.
    pub(crate) fn add_apps(&mut self, scope: &str) {
        if let Apps::With(scopes) = &mut self.apps {
            add(scopes, scope);
        }
    }

    /// Also admits service tokens with this scope.
    pub(crate) fn add_machines(&mut self, scope: &str) {
        add(&mut self.machines, scope);
    }

    /// Admits every app.
    pub(crate) fn add_every_app(&mut self) {
        self.apps = Apps::Every;
    }

    /// Decides by service token and access token. Does no I/O and, if the token is valid, allocates nothing besides its content.
    pub(crate) fn decide(&self, shared: &Shared, request: &impl Request) -> Decision {
        match self.machine(shared, request) {
            Ok(Some(machine)) => {
                request_log::speaks_for(|| machine.id());
                return Decision::Machine(machine);
            }
            Ok(None) => {}
            Err(problem) => return Decision::Refused(problem),
        }
        match shared.authenticate_access_token(request) {
            Ok(principal) => match self.check(&principal) {
                Ok(()) => {
                    request_log::speaks_for(|| principal.id().to_string());
                    Decision::Person(principal)
                }
                Err(problem) => Decision::Refused(problem),
            },
            Err(tried) => Decision::Undecided(tried),
        }
    }

    /// Tries all steps, after [`decide`](Self::decide) was [`Undecided`](Decision::Undecided).
    pub(crate) async fn authenticate_request(
        &self,
        shared: &Shared,
        request: &impl Request,
        tried: Option<Denied>,
    ) -> Result<Authenticated, Problem> {
        let authenticated = with_time_budget(shared.authenticate_request(request, tried)).await?;
        self.check(&authenticated.principal)?;
        request_log::speaks_for(|| authenticated.principal.id().to_string());
        Ok(authenticated)
    }

    /// Refuses the token of an app that is not admitted.
    fn check(&self, principal: &Principal) -> Result<(), Problem> {
        let Some(grant) = principal.grant() else { return Ok(()) };
        let admitted = match &self.apps {
            Apps::Every => true,
            Apps::With(scopes) => scopes.iter().any(|scope| grant.scope.contains(scope)),
        };
        if admitted { Ok(()) } else { Err(Problem::program_not_admitted()) }
    }

    /// The machine that sent the request, if a machine did. Refused if it has none of the scopes.
    fn machine(&self, shared: &Shared, request: &impl Request) -> Result<Option<Machine>, Problem> {
        if self.machines.is_empty() {
            return Ok(None);
        }
        match shared.machine(request) {
            Some(machine) if self.machines.iter().any(|scope| machine.scope().contains(scope)) => {
                Ok(Some(machine))
            }
            Some(_) => Err(Problem::program_not_admitted()),
            None => Ok(None),
        }
    }
}

fn add(scopes: &mut Arc<[String]>, scope: &str) {
    *scopes = scopes.iter().cloned().chain([scope.to_owned()]).collect();
}
