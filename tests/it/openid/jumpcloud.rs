//! JumpCloud, as its discovery document and its SSO guide describe it.

use serde_json::json;

use super::token_cases::{Case, EVERYWHERE, End, by, try_all};
use crate::support::providers::{
    provider::{Profile, TestProvider},
    signer::NEXT,
};

fn jumpcloud() -> Profile {
    Profile {
        name: "jumpcloud",
        settings: "[provider.jumpcloud]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                   create = 'always'\nroles_claim = 'groups'\n[provider.jumpcloud.roles]\nOps = 'ops'",
        issuer: "https://oauth.id.jumpcloud.com/",
        authorization_endpoint: "https://oauth.id.jumpcloud.com/oauth2/auth",
        token_endpoint: "https://oauth.id.jumpcloud.com/oauth2/token",
        jwks_uri: "https://oauth.id.jumpcloud.com/.well-known/jwks.json",
        discovery: Some(json!({
            "issuer": "https://oauth.id.jumpcloud.com/",
            "authorization_endpoint": "https://oauth.id.jumpcloud.com/oauth2/auth",
            "token_endpoint": "https://oauth.id.jumpcloud.com/oauth2/token",
            "jwks_uri": "https://oauth.id.jumpcloud.com/.well-known/jwks.json",
            "userinfo_endpoint": "https://oauth.id.jumpcloud.com/userinfo",
            "revocation_endpoint": "https://oauth.id.jumpcloud.com/oauth2/revoke",
            "end_session_endpoint": "https://oauth.id.jumpcloud.com/oauth2/sessions/logout",
            "subject_types_supported": ["public"],
            "response_types_supported": ["code", "code id_token", "id_token", "token id_token", "token"],
            "grant_types_supported": ["authorization_code", "implicit", "client_credentials", "refresh_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["offline_access", "openid", "profile", "email"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "client_secret_basic", "private_key_jwt", "none"],
        })),
        claims: json!({
            "aud": ["our-client-id"], "sub": "5f7b3a0e9d1c2b4a6e8f0a1b", "auth_time": 1700000000, "rat": 1700000000,
            "amr": [], "at_hash": "y", "jti": "5d3c1f6a-0000-4000-8000-000000000000", "sid": "s", "name": "Ada L",
            "email": "ada@example.com", "email_verified": true, "groups": ["Ops"],
        }),
        refusal: json!({
            "error": "invalid_grant",
            "error_description": "The provided authorization grant is invalid, expired or was issued to another client.",
        }),
    }
}

const CASES: [Case; 8] = [
    ("its issuer without the slash at the end", End::Refused, |t| {
        t.claims["iss"] = json!("https://oauth.id.jumpcloud.com");
    }),
    ("its issuer with two", End::Refused, |t| t.claims["iss"] = json!("https://oauth.id.jumpcloud.com//")),
    ("an audience that is a text", End::In, |t| t.claims["aud"] = json!("our-client-id")),
    ("for two clients, and it doesn't say whose", End::Refused, |t| {
        t.claims["aud"] = json!(["our-client-id", "another"])
    }),
    ("for two clients, and it says that it is the other's", End::Refused, |t| {
        t.claims["aud"] = json!(["our-client-id", "another"]);
        t.claims["azp"] = json!("another");
    }),
    ("for two clients, and it says that it is ours", End::In, |t| {
        t.claims["aud"] = json!(["another", "our-client-id"]);
        t.claims["azp"] = json!("our-client-id");
    }),
    ("an empty list of audiences", End::Refused, |t| t.claims["aud"] = json!([])),
    ("by a key of the set's that is for encryption", End::Refused, |t| by(&NEXT, t)),
];

#[tokio::test]
async fn valid_jumpcloud_tokens_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(jumpcloud());
    let mut encryption = NEXT.jwk();
    encryption["use"] = json!("enc");
    provider.keys.lock().unwrap().push(encryption);
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    assert_eq!(
        provider
            .server
            .sqlite3("SELECT issuer, subject, name, roles FROM identities JOIN users ON user_id = id"),
        "https://oauth.id.jumpcloud.com/|5f7b3a0e9d1c2b4a6e8f0a1b|ada@example.com|[\"ops\"]"
    );
}
