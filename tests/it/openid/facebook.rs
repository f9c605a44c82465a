//! Facebook, as its guide to OIDC tokens and its Graph API reference describe it.

use serde_json::{Value, json};

use super::token_cases::{Case, EVERYWHERE, End, by, try_all};
use crate::support::providers::{
    internet::{Received, Reply},
    provider::{CLIENT, Person, Profile, SECRET, TestProvider, now},
    signer::NEXT,
};

const GRAPH: &str = "https://graph.facebook.com/v23.0";

fn facebook() -> Profile {
    Profile {
        name: "facebook",
        settings: "[provider.facebook]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\ncreate = 'always'",
        issuer: "https://www.facebook.com",
        authorization_endpoint: "https://www.facebook.com/v23.0/dialog/oauth",
        token_endpoint: "https://graph.facebook.com/v23.0/oauth/access_token",
        jwks_uri: "https://www.facebook.com/.well-known/oauth/openid/jwks/",
        // Without a token endpoint, as Facebook publishes the document.
        discovery: Some(json!({
            "issuer": "https://www.facebook.com",
            "authorization_endpoint": "https://facebook.com/dialog/oauth/",
            "jwks_uri": "https://www.facebook.com/.well-known/oauth/openid/jwks/",
            "response_types_supported": ["id_token", "token id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["iss", "aud", "sub", "iat", "exp", "jti", "nonce", "at_hash", "name", "email", "picture"],
        })),
        claims: json!({
            "sub": "1234567890123456", "jti": "iqqV.37bb58", "at_hash": "-AzoyAuZSpY", "given_name": "Ada",
            "family_name": "L", "name": "Ada L", "email": "ada@example.org",
            "picture": "https://platform-lookaside.fbsbx.com/platform/profilepic/",
        }),
        refusal: json!({"error": {
            "message": "This authorization code has been used.", "type": "OAuthException", "code": 100,
            "error_subcode": 36009, "fbtrace_id": "AbCdEf",
        }}),
    }
}

const CASES: [Case; 4] = [
    ("its issuer without www", End::Refused, |t| t.claims["iss"] = json!("https://facebook.com")),
    ("its issuer with a slash more", End::Refused, |t| t.claims["iss"] = json!("https://www.facebook.com/")),
    ("by the second key of the set", End::In, |t| by(&NEXT, t)),
    ("for another app of the same owner", End::Refused, |t| t.claims["aud"] = json!("1234567890")),
];

#[tokio::test]
async fn valid_facebook_tokens_are_accepted_and_all_others_refused() {
    let provider = TestProvider::open(facebook());
    provider.keys.lock().unwrap().push(NEXT.jwk());
    try_all(&provider, &[&EVERYWHERE[..], &CASES].concat()).await;
    let redeemed = provider.internet.asked(provider.profile.token_endpoint);
    assert!(
        redeemed.iter().all(|asked| asked.form["client_secret"] == SECRET && asked.authorization.is_none())
    );
    assert_eq!(
        provider.server.sqlite3("SELECT name, claims FROM users WHERE id > 1"),
        r#"Ada L|{"name":"Ada L"}"#,
        "a mail address that nobody says was verified is not kept"
    );
}

/// Adds the Graph API, which knows one access token of one user and requires the app's `appsecret_proof`.
fn build_graph(provider: &TestProvider, about: impl Fn() -> Value + Send + Sync + 'static) {
    provider.internet.at(&format!("{GRAPH}/debug_token"), move |asked: &Received| {
        let ours = asked.authorization == Some(format!("Bearer {CLIENT}|{SECRET}"));
        match (ours, asked.query.get("input_token").map(String::as_str)) {
            (true, Some("garbage")) => Reply::Json(json!({"data": {
                "error": {"code": 190, "message": "Invalid OAuth access token."}, "is_valid": false, "scopes": [],
            }})),
            (true, Some(_)) => Reply::Json(json!({"data": about()})),
            _ => Reply::Error(400, json!({"error": {"message": "(#100)", "type": "OAuthException", "code": 100}})),
        }
    });
    provider.internet.at(&format!("{GRAPH}/me"), |asked: &Received| {
        // HMAC-SHA256 of "users-token" under SECRET, made with: printf %s users-token | openssl dgst -sha256 -hmac "$SECRET"
        let proven = asked.query.get("appsecret_proof").map(String::as_str) == Some(PROOF);
        match proven && asked.authorization.as_deref() == Some("Bearer users-token") {
            true => Reply::Json(json!({"id": "1234567890123456", "name": "Ada L", "email": "ada@example.org"})),
            false => Reply::Error(400, json!({"error": {
                "message": "Invalid appsecret_proof provided in the API argument", "type": "GraphMethodException", "code": 100,
            }})),
        }
    });
}

const PROOF: &str = "7c69d77080bc5091fbd1940069f0f821e1ddbaa08b3740f86f5fca2fa286569b";

fn about() -> Value {
    json!({
        "app_id": CLIENT, "type": "USER", "application": "Ours", "is_valid": true, "user_id": "1234567890123456",
        "expires_at": now() + 5000, "data_access_expires_at": now() + 90_000, "scopes": ["public_profile", "email"],
    })
}

async fn presents(person: &Person<'_>, token: &str) -> u16 {
    let nonce = person.nonce().await;
    let body = json!({"provider": "facebook", "access_token": token, "nonce": nonce});
    person.post("/auth/login", body).await.status().as_u16()
}

#[tokio::test]
async fn a_facebook_access_token_is_checked_at_the_graph_and_accepted_once() {
    let provider = TestProvider::open(facebook());
    build_graph(&provider, about);
    let ada = provider.somebody();
    assert_eq!(presents(&ada, "users-token").await, 200);
    assert_eq!(ada.is().await["name"], "Ada L");
    let thief = provider.somebody();
    assert_eq!(presents(&thief, "users-token").await, 401, "the same token again, with a nonce of one's own");
    assert_eq!(presents(&thief, "garbage").await, 401);
    assert_eq!(presents(&thief, "not a header's\nvalue").await, 401);
    let by_pages = provider.somebody();
    by_pages.signs_in(|_| {}).await;
    assert_eq!(by_pages.is().await["id"], ada.is().await["id"], "the same person by the browser");
}

#[tokio::test]
async fn a_facebook_token_is_refused_if_the_graphs_description_does_not_match() {
    let provider = TestProvider::open(facebook());
    type Twist = fn(&mut Value);
    let twists: [(&str, Twist); 8] = [
        ("another app's token", |about| about["app_id"] = json!("1234567890")),
        ("no longer valid", |about| about["is_valid"] = json!(false)),
        ("validity said as a text", |about| about["is_valid"] = json!("true")),
        ("a page's token", |about| about["type"] = json!("PAGE")),
        ("expired", |about| about["expires_at"] = json!(now() - 1)),
        ("without an end", |about| about["expires_at"] = json!(0)),
        ("of somebody else than the Graph says", |about| about["user_id"] = json!("2")),
        ("of nobody", |about| drop(about.as_object_mut().unwrap().remove("user_id"))),
    ];
    for (name, twist) in twists {
        build_graph(&provider, move || {
            let mut said = about();
            twist(&mut said);
            said
        });
        assert_eq!(presents(&provider.somebody(), "users-token").await, 401, "{name}");
    }
    build_graph(&provider, about);
    provider.internet.at(&format!("{GRAPH}/me"), |_| {
        Reply::Error(500, json!({"error": {"code": 2, "is_transient": true}}))
    });
    assert_eq!(
        presents(&provider.somebody(), "users-token").await,
        503,
        "a Graph that fails isn't the token's fault"
    );
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "0");
}

#[tokio::test]
async fn a_facebook_token_is_refused_only_if_the_graph_says_that_it_is_invalid() {
    let provider = TestProvider::open(facebook());
    let error = |code: i64, message: &str| json!({"error": {"code": code, "message": message, "type": "OAuthException"}});
    let cases: [(&str, u16, Value, u16); 17] = [
        ("me", 400, error(190, "Error validating access token: the session was invalidated"), 401),
        ("me", 401, error(190, "Session has expired"), 401),
        ("me", 403, error(102, "The session key has expired"), 401),
        ("me", 400, error(4, "(#4) Application request limit reached"), 503),
        ("me", 403, error(4, "(#4) Application request limit reached"), 503),
        ("me", 400, error(17, "User request limit reached"), 503),
        ("me", 400, error(32, "Page request limit reached"), 503),
        ("me", 400, error(613, "Calls to this API have exceeded the rate limit"), 503),
        ("me", 400, error(2, "Service temporarily unavailable"), 503),
        ("me", 400, error(100, "Invalid appsecret_proof provided in the API argument"), 503),
        ("me", 403, json!("forbidden"), 503),
        ("me", 200, error(2, "An unexpected error has occurred"), 503),
        ("debug_token", 400, error(190, "Invalid OAuth access token signature"), 503),
        ("debug_token", 400, error(4, "Application request limit reached"), 503),
        (
            "debug_token",
            400,
            error(100, "(#100) The App_id in the input_token did not match the Viewing App"),
            401,
        ),
        ("debug_token", 200, json!({"data": []}), 503),
        ("debug_token", 200, json!({"data": {"is_valid": false, "error": {"code": 2, "message": "x"}}}), 503),
    ];
    for (path, status, body, expected) in cases {
        build_graph(&provider, about);
        let shown = format!("{path} {status} {body}");
        provider.internet.at(&format!("{GRAPH}/{path}"), move |_| match status {
            200 => Reply::Json(body.clone()),
            status => Reply::Error(status, body.clone()),
        });
        let failed = || provider.server.sqlite3("SELECT count(*) FROM audit WHERE event = 'login.failed'");
        let before: u32 = failed().parse().unwrap();
        assert_eq!(presents(&provider.somebody(), "users-token").await, expected, "{shown}");
        assert_eq!(failed(), (before + u32::from(expected == 401)).to_string(), "{shown}");
    }
    let log = provider.server.stderr();
    assert!(log.contains("me: answered 400 with the error code 4 (a rate limit is reached)"), "{log}");
    assert!(
        log.contains("debug_token: answered 400 with the error code 190 (it refuses the client id"),
        "{log}"
    );
}

#[tokio::test]
async fn ids_that_the_graph_sends_as_numbers_are_accepted() {
    let mut profile = facebook();
    profile.settings =
        "[provider.facebook]\nclient_id = '1234'\nclient_secret_file = 'secret'\ncreate = 'always'";
    let provider = TestProvider::open(profile);
    provider.internet.at(&format!("{GRAPH}/debug_token"), |_| {
        let mut said = about();
        (said["app_id"], said["user_id"]) = (json!(1234), json!(1_207_059));
        Reply::Json(json!({"data": said}))
    });
    provider.internet.at(&format!("{GRAPH}/me"), |_| Reply::Json(json!({"id": "1207059", "name": "Ada L"})));
    assert_eq!(presents(&provider.somebody(), "users-token").await, 200, "{}", provider.server.stderr());
    assert_eq!(provider.server.sqlite3("SELECT subject FROM identities"), "1207059");
}
