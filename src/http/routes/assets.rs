//! The stylesheet and the pictures of the pages.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::{
    Problem,
    wire::request::{Header, Request as _},
};

/// `GET /auth/assets/{name}`
pub(crate) async fn asset(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (media, bytes) = match name.as_str() {
        "bulla.css" => ("text/css; charset=utf-8", include_str!("../pages/assets/bulla.css")),
        "bulla.svg" => ("image/svg+xml", include_str!("../pages/assets/bulla.svg")),
        _ => return Err(Problem::not_found()),
    };
    Ok(HttpResponse::Ok().content_type(media).body(bytes))
}

/// `GET /auth/assets/forget.svg`: an empty picture on the page after a logout. Browsers keep the previous page for their Back
/// button, even with `no-store`. When this answer arrives, the browser has left the page with the devices and deletes it from its
/// cache.
pub(crate) async fn forget(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    // Another site must not be able to clear the cache of this server's users.
    if request.text(Header::SecFetchSite) == Some("same-origin") {
        response.insert_header(("Clear-Site-Data", "\"cache\""));
    }
    response.content_type("image/svg+xml").body("<svg xmlns='http://www.w3.org/2000/svg'/>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn only_our_own_pages_make_a_browser_forget() {
        use actix_web::test::TestRequest;
        for (site, clears) in [("same-origin", true), ("same-site", false), ("cross-site", false)] {
            let request = TestRequest::get().insert_header(("sec-fetch-site", site)).to_http_request();
            let answer = forget(request).await;
            assert_eq!(answer.headers().contains_key("clear-site-data"), clears, "{site}");
        }
    }
}
