//! Any other provider, configured by its issuer alone: Keycloak's tokens, Auth0's deviations, every algorithm.

use serde_json::json;

use super::token_cases::{Case, EVERYWHERE, End, by, try_all};
use crate::support::providers::{
    internet::Reply,
    provider::{Profile, TestProvider},
    signer::{ED25519, NEXT, P256},
};

pub fn keycloak() -> Profile {
    let issuer = "https://login.example.org/realms/main";
    let connect = "https://login.example.org/realms/main/protocol/openid-connect";
    Profile {
        name: "keycloak",
        settings: "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                   issuer = 'https://login.example.org/realms/main'\ncreate = 'always'",
        issuer,
        authorization_endpoint: "https://login.example.org/realms/main/protocol/openid-connect/auth",
        token_endpoint: "https://login.example.org/realms/main/protocol/openid-connect/token",
        jwks_uri: "https://login.example.org/realms/main/protocol/openid-connect/certs",
        discovery: Some(json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{connect}/auth"),
            "token_endpoint": format!("{connect}/token"),
            "introspection_endpoint": format!("{connect}/token/introspect"),
            "userinfo_endpoint": format!("{connect}/userinfo"),
            "end_session_endpoint": format!("{connect}/logout"),
            "jwks_uri": format!("{connect}/certs"),
            "response_types_supported": ["code", "none", "id_token", "token", "code id_token"],
            "subject_types_supported": ["public", "pairwise"],
            "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "RS256", "none"],
            "token_endpoint_auth_methods_supported":
                ["private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth"],
            "claims_parameter_supported": true,
        })),
        claims: json!({
            "sub": "f3a1b2c4-0000-4000-8000-000000000001", "typ": "ID", "azp": "our-client-id", "sid": "x", "acr": "1",
            "auth_time": 1700000000, "jti": "y", "email_verified": true, "email": "ada@example.org", "name": "Ada",
            "preferred_username": "ada", "realm_access": {"roles": ["offline_access", "editors"]},
        }),
        refusal: json!({"error": "invalid_grant", "error_description": "Code not valid"}),
    }
}

const CASES: [Case; 12] = [
    ("Keycloak's access token", End::Refused, |t| t.claims["typ"] = json!("Bearer")),
    ("Keycloak's refresh token", End::Refused, |t| t.claims["typ"] = json!("Refresh")),
    ("an access token of RFC 9068", End::Refused, |t| t.header["typ"] = json!("at+jwt")),
    ("another realm", End::Refused, |t| t.claims["iss"] = json!("https://login.example.org/realms/test")),
    ("a host in capitals", End::Refused, |t| {
        t.claims["iss"] = json!("https://LOGIN.example.org/realms/main")
    }),
    ("by ES256", End::In, |t| by(&P256, t)),
    ("by EdDSA", End::In, |t| by(&ED25519, t)),
    ("by PS256, the key doesn't say which", End::In, |t| {
        by(&NEXT, t);
        t.header["alg"] = json!("PS256");
    }),
    ("by RS512, the key doesn't say which", End::In, |t| {
        by(&NEXT, t);
        t.header["alg"] = json!("RS512");
    }),
    ("Auth0's time of the last change, a text", End::In, |t| {
        t.claims["updated_at"] = json!("2026-11-20T19:00:00.000Z")
    }),
    ("Entra's thumbprint of the key in the header", End::In, |t| {
        t.header["x5t"] = json!("nOo3ZDrODXEK1jKWhXslHR_KXEg")
    }),
    ("without a type in the header", End::In, |t| drop(t.header.as_object_mut().unwrap().remove("typ"))),
];

#[tokio::test]
async fn valid_tokens_of_a_generic_provider_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(keycloak());
    let mut any = NEXT.jwk();
    any.as_object_mut().unwrap().remove("alg");
    provider.keys.lock().unwrap().extend([P256.jwk(), ED25519.jwk(), any]);
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "1");
}

#[tokio::test]
async fn roles_follow_the_claim_at_the_configured_pointer() {
    let more =
        "roles_claim = '/realm_access/roles'\n[provider.keycloak.roles]\neditors = 'editor'\nroots = 'admin'";
    let provider = TestProvider::with_settings(keycloak(), more);
    let roles = async |said: serde_json::Value| {
        let person = provider.somebody();
        person.signs_in(|t| t.claims["realm_access"] = json!({"roles": said})).await;
        person.is().await["roles"].clone()
    };
    assert_eq!(roles(json!(["editors", "everybody"])).await, json!(["editor"]));
    assert!(provider.server.cli(&["user", "role", "ada@example.org", "--add", "painter"]).status.success());
    assert_eq!(roles(json!(["roots"])).await, json!(["painter", "admin"]));
    assert_eq!(roles(json!([])).await, json!(["painter"]));
    assert!(
        provider
            .server
            .sqlite3("SELECT actor FROM audit WHERE event = 'user.changed'")
            .contains("provider:keycloak")
    );
}

#[tokio::test]
async fn claims_missing_in_an_id_token_come_from_userinfo_of_the_same_subject() {
    let provider = TestProvider::open(keycloak());
    let userinfo = "https://login.example.org/realms/main/protocol/openid-connect/userinfo";
    let bare = |t: &mut crate::support::providers::provider::Token| {
        for claim in ["email", "email_verified", "name", "preferred_username"] {
            t.claims.as_object_mut().unwrap().remove(claim);
        }
    };
    let sub = "f3a1b2c4-0000-4000-8000-000000000001";
    for (said, status) in [
        (json!({"sub": "somebody-else", "email": "eve@example.org", "email_verified": true}), 401),
        (json!({"email": "eve@example.org", "email_verified": true}), 401),
        (json!([]), 503),
        (
            json!({"sub": sub, "email": "ada@example.org", "email_verified": true, "iss": "https://evil.example"}),
            303,
        ),
    ] {
        let answer = said.clone();
        provider.internet.at(userinfo, move |_| Reply::Json(answer.clone()));
        assert_eq!(provider.somebody().signs_in(bare).await.status(), status, "{said}");
    }
    assert_eq!(
        provider.server.sqlite3("SELECT name, issuer, subject FROM users JOIN identities ON user_id = id"),
        format!("ada@example.org|https://login.example.org/realms/main|{sub}")
    );
    let asked = provider.internet.asked(userinfo);
    assert!(asked.iter().all(|asked| asked.authorization.as_deref().unwrap().starts_with("Bearer access-")));
    provider.somebody().signs_in(|_| {}).await;
    assert_eq!(
        provider.internet.asked(userinfo).len(),
        asked.len(),
        "a token that says all of it costs no question"
    );
}
