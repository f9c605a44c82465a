//! The options of a guard, and its decision about a request. Both adapters use them, so that they admit the same requests.

use std::sync::Arc;

use crate::{
    http::{
        Problem,
        bulla::Shared,
        guard::{authenticate::Authenticated, refusal::ClientKind},
        wire::{cookies::SetCookies, credentials::Authorization, request::Request, request_log},
    },
    session::{Denied, Machine, Principal, Watch},
    store::with_time_budget,
};

/// The people and programs that a guard admits: people with one of the roles, and programs with one of the scopes.
#[derive(Clone, Debug)]
pub(crate) struct Admits {
    apps: Apps,
    machines: Arc<[String]>,
    /// The roles of which a person must have one. Empty: every person is admitted.
    roles: Arc<[String]>,
    /// Whether requests without a recognised caller are passed on. Not if `roles` requires a person.
    optional: bool,
    /// The watch that principals get.
    watch: Watch,
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

/// The decision after all steps. The cookies must be sent with the answer in any case, because a renewal may have replaced the
/// refresh token.
#[derive(Debug)]
pub(crate) struct Admission {
    /// The person. `None` if the guard is optional and the caller is not recognised.
    pub(crate) decision: Result<Option<Principal>, Problem>,
    pub(crate) cookies: SetCookies,
}

impl Admits {
    /// Admits every person, and no program.
    pub(crate) fn people(shared: &Shared) -> Self {
        Self {
            apps: Apps::default(),
            machines: Arc::default(),
            roles: Arc::default(),
            optional: false,
            watch: shared.watch(),
        }
    }

    /// The same with a watch for one thread, so that the threads don't share a reference count.
    pub(crate) fn on_this_thread(&self, shared: &Shared) -> Self {
        Self { watch: shared.watch(), ..self.clone() }
    }

    /// Admits only people who have this role or one of the roles that were added before.
    pub(crate) fn add_role(&mut self, role: &str) {
        add(&mut self.roles, role);
    }

    /// Passes requests on if their caller is not authenticated.
    pub(crate) fn make_optional(&mut self) {
        self.optional = true;
    }

    /// Whether a request without an authenticated caller is passed on. This is never so if a role is required, because a role
    /// requires a person.
    pub(crate) fn is_optional(&self) -> bool {
        self.optional && self.roles.is_empty()
    }

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

    /// Decides by the service token and the access token. Does no I/O. If the token is valid, allocates only the token's content.
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
                    Decision::Person(principal.watched_by(&self.watch))
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
    ) -> Admission {
        let authenticated = with_time_budget(shared.authenticate_request(request, tried)).await;
        let Authenticated { principal, cookies } = match authenticated {
            Ok(authenticated) => authenticated,
            Err(problem) => {
                let decision = if self.passes_on_unauthenticated(shared, request, &problem) {
                    Ok(None)
                } else {
                    Err(problem)
                };
                return Admission { decision, cookies: SetCookies::default() };
            }
        };
        request_log::speaks_for(|| principal.id().to_string());
        let decision = self.check(&principal).map(|()| Some(principal.watched_by(&self.watch)));
        Admission { decision, cookies }
    }

    /// Whether a request is passed on without a person: its cookies are invalid or missing. If it has credentials in
    /// `Authorization`, it is refused instead, so that a program learns that they are wrong. A navigation that another site caused
    /// is answered with the page that loads again by itself first, because the next request may be authenticated.
    fn passes_on_unauthenticated(&self, shared: &Shared, request: &impl Request, problem: &Problem) -> bool {
        self.is_optional()
            && problem.code() == "unauthorized"
            && matches!(shared.schemes.read(request), Ok(Authorization::Absent))
            && !(problem.is_cross_site() && ClientKind::of(request, &shared.site).can_reload())
    }

    /// Refuses a token of an app whose scope is not admitted, and a person who has none of the required roles.
    fn check(&self, principal: &Principal) -> Result<(), Problem> {
        if let Some(grant) = principal.grant() {
            let admitted = match &self.apps {
                Apps::Every => true,
                Apps::With(scopes) => scopes.iter().any(|scope| grant.scope.contains(scope)),
            };
            if !admitted {
                return Err(Problem::program_not_admitted());
            }
        }
        // A token of an app has no roles, so a required role refuses every app.
        if self.roles.is_empty() || principal.roles().iter().any(|role| self.roles.contains(role)) {
            Ok(())
        } else {
            Err(Problem::forbidden())
        }
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
