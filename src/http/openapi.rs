//! `GET /openapi.json`: every route, for programs. A test holds the document to the table of routes, another one tries it
//! all against the running server.

use actix_web::HttpResponse;

pub(super) async fn document() -> HttpResponse {
    let document = include_str!("openapi.json").replacen("0.0.0", env!("CARGO_PKG_VERSION"), 1);
    HttpResponse::Ok().content_type("application/json").body(document)
}
