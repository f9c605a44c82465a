//! The OAuth routes: they read forms and answer JSON as the RFCs define it. They read no cookies.

use actix_web::{
    Error, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    middleware::Next,
    web,
};
use serde_json::json;

use crate::{
    http::{
        Bulla, Problem,
        bulla::Shared,
        wire::{
            credentials,
            request::{Header, Request as _},
            request_log,
        },
    },
    login::{Account, Failed},
    oauth::{Client, Credentials, Form, Granted, Issuer, Refusal, metadata},
    store::RevocationTarget,
};

/// `POST /oauth/token`
pub(crate) async fn token(bulla: web::Data<Bulla>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let shared = &bulla.0;
    let answer = async {
        let (client, form) = shared.client(&request, &body).await?;
        Ok(shared.issuer().token(&client, &form, shared.site.device(&request)).await?)
    };
    match answer.await {
        Ok(granted) => HttpResponse::Ok().insert_header((header::PRAGMA, "no-cache")).json(tokens(&granted)),
        Err(refused) => refusal(&request, &refused),
    }
}

/// The token answer (RFC 6749, 5.1, and RFC 8693, 2.2.1).
fn tokens(granted: &Granted) -> serde_json::Value {
    let mut answer = json!({
        "access_token": granted.access.as_str(), "token_type": "Bearer", "expires_in": granted.expires_in,
    });
    if !granted.scope.is_empty() {
        answer["scope"] = granted.scope.to_string().into();
    }
    if let Some(refresh) = &granted.refresh {
        answer["refresh_token"] = refresh.expose().into();
    }
    if let Some(kind) = granted.kind {
        answer["issued_token_type"] = kind.into();
    }
    answer
}

/// `POST /oauth/revoke`
pub(crate) async fn revoke(bulla: web::Data<Bulla>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let shared = &bulla.0;
    let answer = async {
        let (client, form) = shared.client(&request, &body).await?;
        let token = form.text("token").ok_or(Refusal::Request("the parameter token is missing"))?;
        Ok(shared.issuer().revoke(&client, token).await?)
    };
    match answer.await {
        // RFC 7009, 2.2, leaves the body open. Many clients expect JSON.
        Ok(()) => HttpResponse::Ok().json(json!({})),
        Err(refused) => refusal(&request, &refused),
    }
}

/// `POST /oauth/introspect`
pub(crate) async fn introspect(
    bulla: web::Data<Bulla>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let shared = &bulla.0;
    let answer = async {
        let (client, form) = shared.client(&request, &body).await?;
        let token = form.text("token").ok_or(Refusal::Request("the parameter token is missing"))?;
        Ok(shared.issuer().introspect(&client, token).await?)
    };
    match answer.await {
        Ok(said) => HttpResponse::Ok().json(said.unwrap_or_else(|| json!({"active": false}))),
        Err(refused) => refusal(&request, &refused),
    }
}

/// `GET /.well-known/oauth-authorization-server`
pub(crate) async fn about(bulla: web::Data<Bulla>) -> HttpResponse {
    HttpResponse::Ok().json(metadata(bulla.0.site.origin()))
}

/// The reason why a request fails.
pub(crate) enum Refused {
    OAuth(Refusal),
    /// There were too many failures before this request.
    Throttled(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Throttled(problem)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::OAuth(refusal)
    }
}

impl Shared {
    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer::new(self.sessions(), self.site.origin())
    }

    /// Authenticates the client and reads its parameters. Failures are throttled by address, and by client at an address. A count
    /// per client over all addresses would be useless against guessing 256 bits, and it would allow anyone to block an app.
    async fn client(&self, request: &HttpRequest, body: &[u8]) -> Result<(Client, Form), Refused> {
        let media = request.text(Header::ContentType).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::Request("the body must be application/x-www-form-urlencoded").into());
        }
        let form = Form::parse(body)?;
        let basic = match credentials::Authorization::of(request) {
            Ok(credentials::Authorization::Absent) => None,
            Ok(credentials::Authorization::Basic { name, password }) => Some((name, password)),
            // A malformed header or another scheme than Basic does not identify a client.
            Ok(credentials::Authorization::Bearer(_)) | Err(_) => return Err(Refusal::Client.into()),
        };
        let credentials = Credentials::of(basic, &form)?;
        let account = Account::Client(credentials.id());
        let check = async {
            self.issuer().authenticate_client(&credentials).await.map_err(|refusal| match refusal {
                Refusal::Client => Failed::Wrong(
                    "unknown client, or wrong secret or signature",
                    Refused::OAuth(Refusal::Client),
                ),
                other => Failed::Undecided(Refused::OAuth(other)),
            })
        };
        let client: Client = self.logins().attempt(account, &self.site.requester(request), check).await?;
        request_log::speaks_for(|| RevocationTarget::Client(client.row.id.to_string()).to_string());
        Ok((client, form))
    }
}

/// The error answer (RFC 6749, 5.2).
fn refusal(request: &HttpRequest, refused: &Refused) -> HttpResponse {
    let (mut head, code, description) = match refused {
        Refused::Throttled(problem) => {
            (problem.head(), "temporarily_unavailable", problem.detail().to_owned())
        }
        Refused::OAuth(refusal) => (head(request, refusal), refusal.code(), refusal.to_string()),
    };
    head.json(json!({"error": code, "error_description": description}))
}

fn head(request: &HttpRequest, refusal: &Refusal) -> HttpResponseBuilder {
    match refusal {
        Refusal::Client => {
            let mut head = HttpResponse::build(StatusCode::UNAUTHORIZED);
            // The header is required only if the client used the `Authorization` header.
            if request.headers().contains_key(header::AUTHORIZATION) {
                head.insert_header((header::WWW_AUTHENTICATE, r#"Basic realm="oauth", charset="UTF-8""#));
            }
            head
        }
        Refusal::CannotTell(error) => {
            tracing::warn!(%error, "the store could not answer");
            Problem::unavailable().head()
        }
        Refusal::Seal(error) => {
            tracing::error!(%error, "a token could not be sealed");
            Problem::unavailable().head()
        }
        _ => HttpResponse::build(StatusCode::BAD_REQUEST),
    }
}

/// Allows requests from pages of other origins (CORS, cross-origin resource sharing). An app in a browser needs this. It is safe,
/// because these routes read no cookie.
pub(crate) async fn for_pages(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match asks {
        true => request.into_response(HttpResponse::NoContent().finish()).map_into_right_body(),
        false => match next.call(request).await {
            Ok(response) => response.map_into_left_body(),
            Err(error) => return Err(error),
        },
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if asks {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}
