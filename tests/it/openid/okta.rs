//! Okta, as its developer documentation describes it: the organization's authorization server and a custom one.

use serde_json::{Value, json};

use super::token_cases::{Case, EVERYWHERE, End, try_all};
use crate::support::providers::provider::{Profile, TestProvider};

fn discovery(issuer: &str, base: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/v1/authorize"),
        "token_endpoint": format!("{base}/v1/token"),
        "userinfo_endpoint": format!("{base}/v1/userinfo"),
        "registration_endpoint": "https://dev-1.okta.com/oauth2/v1/clients",
        "jwks_uri": format!("{base}/v1/keys"),
        "response_types_supported": ["code", "id_token", "code id_token", "code token", "code id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post", "okta_post_message"],
        "grant_types_supported": ["authorization_code", "implicit", "refresh_token", "password"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile", "address", "phone", "offline_access", "groups"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"],
        "code_challenge_methods_supported": ["S256"],
        "request_parameter_supported": true,
    })
}

fn okta() -> Profile {
    Profile {
        name: "okta",
        settings: "[provider.okta]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                   domain = 'dev-1.okta.com'\ncreate = 'allowed-domains'\nallowed_domains = ['example.com']",
        issuer: "https://dev-1.okta.com",
        authorization_endpoint: "https://dev-1.okta.com/oauth2/v1/authorize",
        token_endpoint: "https://dev-1.okta.com/oauth2/v1/token",
        jwks_uri: "https://dev-1.okta.com/oauth2/v1/keys",
        discovery: Some(discovery("https://dev-1.okta.com", "https://dev-1.okta.com/oauth2")),
        claims: json!({
            "sub": "00uid4BxXw6I6TV4m0g3", "ver": 1, "jti": "ID.4eAWJOCMB3SX8XewDfVR", "amr": ["mfa", "otp", "pwd"],
            "idp": "00ok1u7AsAkrwdZL3z0g3", "auth_time": 1311280969, "at_hash": "preview_at_hash",
            "name": "John Doe", "preferred_username": "john@example.com", "email": "john@example.com",
            "email_verified": true,
        }),
        refusal: json!({
            "error": "invalid_grant", "error_description": "The authorization code is invalid or has expired.",
        }),
    }
}

const CASES: [Case; 7] = [
    ("of a custom server of the organisation", End::Refused, |t| {
        t.claims["iss"] = json!("https://dev-1.okta.com/oauth2/default");
    }),
    ("of another organisation", End::Refused, |t| t.claims["iss"] = json!("https://dev-2.okta.com")),
    ("of its preview cell", End::Refused, |t| t.claims["iss"] = json!("https://dev-1.oktapreview.com")),
    ("an access token of a custom server", End::Refused, |t| {
        t.claims["aud"] = json!("api://default");
        t.claims["cid"] = json!("our-client-id");
        t.claims["uid"] = json!("00uid4BxXw6I6TV4m0g3");
        t.claims["scp"] = json!(["openid"]);
    }),
    ("a new person whose mail address isn't verified", End::NoAccount, |t| {
        t.claims["sub"] = json!("00u2");
        t.claims["email_verified"] = json!(false);
    }),
    ("a new person of another domain", End::NoAccount, |t| {
        t.claims["sub"] = json!("00u3");
        t.claims["email"] = json!("eve@example.com.evil.example");
    }),
    ("a new person of the domain in capitals", End::In, |t| {
        t.claims["sub"] = json!("00u4");
        t.claims["email"] = json!("grace@EXAMPLE.COM");
    }),
];

#[tokio::test]
async fn valid_okta_tokens_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(okta());
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    let redeemed = provider.internet.asked("https://dev-1.okta.com/oauth2/v1/token");
    assert!(redeemed.iter().all(|asked| asked.authorization.is_some()));
}

#[tokio::test]
async fn a_custom_okta_server_is_another_issuer_with_its_own_endpoints() {
    let mut profile = okta();
    profile.settings = "[provider.okta]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        domain = 'dev-1.okta.com'\nserver = 'default'\ncreate = 'always'";
    profile.issuer = "https://dev-1.okta.com/oauth2/default";
    profile.authorization_endpoint = "https://dev-1.okta.com/oauth2/default/v1/authorize";
    profile.token_endpoint = "https://dev-1.okta.com/oauth2/default/v1/token";
    profile.jwks_uri = "https://dev-1.okta.com/oauth2/default/v1/keys";
    profile.discovery = Some(discovery(profile.issuer, profile.issuer));
    let provider = TestProvider::open(profile);
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
    let org = provider.somebody().signs_in(|t| t.claims["iss"] = json!("https://dev-1.okta.com")).await;
    assert_eq!(org.status(), 401);
}
