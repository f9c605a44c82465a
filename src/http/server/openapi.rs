//! `GET /openapi.json`: describes every route for programs. One test compares the document with the table of routes; another tries
//! all of it against the running server.

use actix_web::HttpResponse;

pub(crate) async fn document() -> HttpResponse {
    let document = include_str!("openapi.json").replacen("0.0.0", env!("CARGO_PKG_VERSION"), 1);
    HttpResponse::Ok().content_type("application/json").body(document)
}
