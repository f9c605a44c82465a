//! `GET /openapi.json`: the routes for programs.

use actix_web::HttpResponse;
use serde_json::{Value, json};

/// (path, method, summary, status when it works).
const ROUTES: [(&str, &str, &str, &str); 30] = [
    ("/auth/login", "post", "Log in with a name and password, or with a provider's ID token", "200"),
    ("/auth/login/nonce", "post", "A nonce for an ID token that is going to be presented", "200"),
    ("/auth/provider/{name}", "get", "Sign in by way of a provider's pages", "303"),
    ("/auth/provider/{name}/callback", "get", "Come back from there", "303"),
    ("/auth/provider/{name}/link", "post", "Link an identity at a provider to my account", "200"),
    ("/auth/identities", "get", "My identities elsewhere", "200"),
    ("/auth/identities/unlink", "post", "Unlink one of them; never the last way in", "204"),
    ("/auth/refresh", "post", "Renew by the refresh token", "200"),
    ("/auth/logout", "post", "End this session, or all of the user's", "204"),
    ("/auth/session", "get", "Who am I", "200"),
    ("/auth/sessions", "get", "My devices", "200"),
    ("/auth/sessions/{sid}", "delete", "End one of my sessions", "204"),
    ("/auth/sessions/{sid}/end", "post", "The same, for forms", "204"),
    ("/auth/password", "post", "Change my password; ends all sessions and begins a new one", "200"),
    ("/admin/users", "get", "Users, in pages", "200"),
    ("/admin/users", "post", "Add a user", "201"),
    ("/admin/users/{id}", "get", "A user", "200"),
    ("/admin/users/{id}", "patch", "Change roles, claims, disabled", "200"),
    ("/admin/users/{id}", "delete", "Delete a user", "204"),
    ("/admin/sessions", "get", "Live sessions", "200"),
    ("/admin/sessions", "delete", "End all sessions of a user, or of everybody", "200"),
    ("/admin/sessions/{sid}", "delete", "End a session", "204"),
    ("/admin/revocations", "get", "Revocations in force", "200"),
    ("/admin/keys", "get", "The key ring's names and states", "200"),
    ("/admin/audit", "get", "The audit log", "200"),
    ("/health/live", "get", "The process answers", "200"),
    ("/health/ready", "get", "The server is ready", "200"),
    ("/metrics", "get", "Metrics as OpenMetrics text", "200"),
    ("/auth/continue", "get", "Renew on the way to a page", "303"),
    ("/openapi.json", "get", "This document", "200"),
];

pub(super) async fn document() -> HttpResponse {
    let mut paths = serde_json::Map::new();
    for (path, method, summary, status) in ROUTES {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let problem = json!({"description": "A problem document (RFC 9457)", "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
        let responses = json!({status: {"description": summary}, "default": problem});
        let operation = json!({"summary": summary, "parameters": parameters, "responses": responses});
        if let Value::Object(methods) = paths.entry(path).or_insert_with(|| json!({})) {
            methods.insert(method.into(), operation);
        }
    }
    HttpResponse::Ok().json(json!({
        "openapi": "3.1.0",
        "info": {"title": "Bulla", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "MIT OR Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"Problem": {
            "type": "object", "required": ["status", "code"],
            "properties": {"type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                           "code": {"type": "string"}, "detail": {"type": "string"}}}}},
    }))
}
