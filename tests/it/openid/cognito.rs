//! Amazon Cognito: a user pool as its developer guide describes it.

use serde_json::json;

use super::token_cases::{Case, EVERYWHERE, End, try_all};
use crate::support::providers::provider::{Profile, TestProvider};

fn cognito() -> Profile {
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E";
    Profile {
        name: "cognito",
        settings: "[provider.cognito]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                   pool = 'eu-central-1_Ab12Cd34E'\ncreate = 'always'\nroles_claim = 'cognito:groups'\n\
                   [provider.cognito.roles]\nstaff = 'editor'",
        issuer,
        authorization_endpoint: "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
        token_endpoint: "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/token",
        jwks_uri: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E/.well-known/jwks.json",
        discovery: Some(json!({
            "issuer": issuer,
            "authorization_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
            "end_session_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/logout",
            "token_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/token",
            "userinfo_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/userInfo",
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "token"],
            "scopes_supported": ["openid", "email", "phone", "profile"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        })),
        claims: json!({
            "sub": "aaaaaaaa-bbbb-cccc-dddd-example", "token_use": "id", "cognito:username": "janedoe",
            "cognito:groups": ["staff", "everybody"], "email": "jane@example.com", "email_verified": true,
            "auth_time": 1676312777, "at_hash": "x", "event_id": "y", "origin_jti": "z", "jti": "w",
        }),
        refusal: json!({"error": "invalid_grant"}),
    }
}

const CASES: [Case; 9] = [
    ("an access token of the pool", End::Refused, |t| {
        let claims = t.claims.as_object_mut().unwrap();
        claims.remove("aud");
        claims.extend([
            ("token_use".into(), json!("access")),
            ("client_id".into(), json!("our-client-id")),
            ("scope".into(), json!("openid profile")),
            ("username".into(), json!("janedoe")),
        ]);
    }),
    ("an access token that has an audience", End::Refused, |t| t.claims["token_use"] = json!("access")),
    ("of no stated use", End::Refused, |t| drop(t.claims.as_object_mut().unwrap().remove("token_use"))),
    ("of two uses", End::Refused, |t| t.claims["token_use"] = json!(["id", "access"])),
    ("another pool of the region", End::Refused, |t| {
        t.claims["iss"] = json!("https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other");
    }),
    ("a pool of that name in another region", End::Refused, |t| {
        t.claims["iss"] = json!("https://cognito-idp.eu-west-1.amazonaws.com/eu-central-1_Ab12Cd34E");
    }),
    ("without a mail address", End::In, |t| {
        t.claims["sub"] = json!("2");
        t.claims.as_object_mut().unwrap().remove("email");
    }),
    ("a federated user, whose mail address says that it is verified as a text", End::In, |t| {
        t.claims["sub"] = json!("3");
        t.claims["email_verified"] = json!("true");
        t.claims["identities"] = json!([{"userId": "1", "providerName": "Google", "primary": "true"}]);
    }),
    ("in no group", End::In, |t| drop(t.claims.as_object_mut().unwrap().remove("cognito:groups"))),
];

#[tokio::test]
async fn valid_cognito_tokens_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(cognito());
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    assert_eq!(
        provider
            .server
            .sqlite3("SELECT substr(name, 1, 8), length(name), roles FROM users WHERE id > 1 ORDER BY id"),
        "jane@exa|16|[]\njanedoe|7|[\"editor\"]\njane@exa|25|[\"editor\"]",
        "groups give roles and take them; true as a text is verified"
    );
    let redeemed = provider.internet.asked("https://shop.auth.eu-central-1.amazoncognito.com/oauth2/token");
    assert!(
        redeemed
            .iter()
            .all(|asked| asked.authorization.is_some() && !asked.form.contains_key("client_secret"))
    );
}

#[tokio::test]
async fn the_domain_of_a_user_pool_needs_no_discovery() {
    let mut profile = cognito();
    profile.settings = "[provider.cognito]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        pool = 'eu-central-1_Ab12Cd34E'\ndomain = 'shop'\ncreate = 'always'";
    profile.discovery = None;
    let provider = TestProvider::open(profile);
    assert_eq!(provider.somebody().signs_in(|_| {}).await.status(), 303);
}
