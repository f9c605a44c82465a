//! Google, as "OpenID Connect" in its identity documentation describes it.

use serde_json::json;

use super::token_cases::{Case, EVERYWHERE, End, by, try_all};
use crate::support::providers::{
    provider::{Profile, TestProvider},
    signer::NEXT,
};

pub fn google() -> Profile {
    Profile {
        name: "google",
        settings: "[provider.google]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                   create = 'allowed-domains'\nallowed_domains = ['example.org']",
        issuer: "https://accounts.google.com",
        authorization_endpoint: "https://accounts.google.com/o/oauth2/v2/auth",
        token_endpoint: "https://oauth2.googleapis.com/token",
        jwks_uri: "https://www.googleapis.com/oauth2/v3/certs",
        discovery: Some(json!({
            "issuer": "https://accounts.google.com",
            "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
            "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
            "token_endpoint": "https://oauth2.googleapis.com/token",
            "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
            "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
            "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
            "response_types_supported": ["code", "token", "id_token", "code token", "none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["plain", "S256"],
        })),
        claims: json!({
            "azp": "our-client-id", "sub": "110169484474386276334", "hd": "example.org", "email": "ada@example.org",
            "email_verified": true, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "name": "Ada", "given_name": "Ada",
            "picture": "https://lh3.googleusercontent.com/a/x=s96-c", "locale": "en",
        }),
        refusal: json!({"error": "invalid_grant", "error_description": "Bad Request"}),
    }
}

const CASES: [Case; 10] = [
    ("its issuer without a scheme", End::In, |t| t.claims["iss"] = json!("accounts.google.com")),
    ("its issuer with a slash more", End::Refused, |t| {
        t.claims["iss"] = json!("https://accounts.google.com/")
    }),
    ("its issuer in plain", End::Refused, |t| t.claims["iss"] = json!("http://accounts.google.com")),
    ("by the second key of the set", End::In, |t| by(&NEXT, t)),
    ("a personal account with a mail address of the domain", End::NoAccount, |t| {
        t.claims["sub"] = json!("2");
        t.claims.as_object_mut().unwrap().remove("hd");
    }),
    ("another Workspace", End::NoAccount, |t| {
        t.claims["sub"] = json!("3");
        t.claims["hd"] = json!("example.org.evil.example");
    }),
    ("the Workspace with another mail address", End::In, |t| {
        t.claims["sub"] = json!("4");
        t.claims["email"] = json!("grace@alias.example");
    }),
    ("a known account that left the Workspace", End::In, |t| {
        drop(t.claims.as_object_mut().unwrap().remove("hd"))
    }),
    ("made for an app of ours on a phone, which we don't trust", End::Refused, |t| {
        t.claims["azp"] = json!("our-phone-app")
    }),
    ("a subject that is a number", End::Refused, |t| {
        t.claims["sub"] = json!(110169484474386276334_u128 as f64)
    }),
];

#[tokio::test]
async fn valid_google_tokens_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(google());
    provider.keys.lock().unwrap().push(NEXT.jwk());
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    assert_eq!(
        provider.server.sqlite3("SELECT issuer, subject FROM identities ORDER BY subject"),
        "https://accounts.google.com|110169484474386276334\nhttps://accounts.google.com|4",
        "both spellings of the issuer are one"
    );
}

#[tokio::test]
async fn the_request_to_google_follows_its_documentation() {
    let provider = TestProvider::open(google());
    let url = provider.somebody().leaves().await;
    assert!(url.as_str().starts_with("https://accounts.google.com/o/oauth2/v2/auth?"), "{url}");
    let value = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "our-client-id"),
        ("scope", "openid profile email"),
        ("code_challenge_method", "S256"),
        ("hd", "example.org"),
        ("redirect_uri", &format!("{}/auth/provider/google/callback", provider.server.origin)),
    ] {
        assert_eq!(value(name).as_deref(), Some(expected), "{name}");
    }
    for secret in ["state", "nonce", "code_challenge"] {
        assert_eq!(value(secret).unwrap().len(), 43, "{secret}");
    }
}

#[tokio::test]
async fn a_trusted_authorized_party_may_present_id_tokens() {
    let provider = TestProvider::with_settings(google(), "authorized_parties = ['our-phone-app']");
    let phone = provider.somebody();
    assert_eq!(phone.presents(|t| t.claims["azp"] = json!("our-phone-app")).await.status(), 200);
    assert_eq!(phone.presents(|t| t.claims["azp"] = json!("another-app")).await.status(), 401);
    assert_eq!(phone.presents(|t| t.claims["aud"] = json!("our-phone-app")).await.status(), 401);
}
