//! Presents forged tokens. A verifier that forgets one rule would accept one of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{generic_provider::keycloak, token_cases::by};
use crate::support::providers::{
    internet::Reply,
    provider::{TestProvider, Token, now},
    signer::{NEXT, P256, RSA, SHORT, STRANGER, sign_with_secret},
};
use crate::support::server::set_cookies;

type Attack = (&'static str, fn(&mut Token));

/// Checks that every token is refused in the same way: 401, the same body, no cookie, no new user, and no token in the log.
async fn all_fail(provider: &TestProvider, attacks: &[Attack]) {
    let honest = provider.somebody().presents(|_| {}).await;
    assert_eq!(honest.status(), 200, "{}", provider.server.stderr());
    let users = provider.server.sqlite3("SELECT count(*) FROM users");
    let mut wrong = Vec::new();
    for (name, twist) in attacks {
        let mut presented = String::new();
        let answer = provider
            .somebody()
            .presents(|token| {
                twist(token);
                presented = token.text();
            })
            .await;
        let (status, cookies) = (answer.status().as_u16(), set_cookies(&answer));
        let body: Value = answer.json().await.unwrap();
        if status != 401 || !cookies.is_empty() || body["code"] != "unauthorized" {
            wrong.push(format!("{name}: {status} {body} {cookies:?}"));
        }
        let log = provider.server.stderr();
        assert!(presented.is_empty() || !log.contains(&presented), "{name}: it is in the log");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM users"), users);
}

fn unsigned(token: &mut Token, algorithm: Value, signature: &str) {
    token.header["alg"] = algorithm;
    let signed = RSA.sign(&token.header, &token.claims);
    token.text = Some(format!("{}.{signature}", signed.rsplit_once('.').unwrap().0));
}

/// Signs with a foreign key and adds a header parameter that says where to find that key.
fn strange(token: &mut Token, name: &str, value: Value) {
    token.signer = &STRANGER;
    token.header[name] = value;
}

#[tokio::test]
async fn the_key_and_not_the_token_decides_the_algorithm() {
    let provider = TestProvider::open(keycloak());
    provider.keys.lock().unwrap().extend([SHORT.jwk(), P256.jwk()]);
    let attacks: [Attack; 19] = [
        ("alg none", |t| unsigned(t, json!("none"), "")),
        ("alg None", |t| unsigned(t, json!("None"), "")),
        ("alg NONE", |t| unsigned(t, json!("NONE"), "")),
        ("alg nOnE", |t| unsigned(t, json!("nOnE"), "")),
        ("alg none with a signature", |t| unsigned(t, json!("none"), "AAAA")),
        ("alg with a blank", |t| unsigned(t, json!("none "), "")),
        ("alg empty", |t| unsigned(t, json!(""), "")),
        ("alg null", |t| unsigned(t, Value::Null, "")),
        ("alg a list", |t| unsigned(t, json!(["RS256"]), "")),
        ("no alg", |t| {
            t.header.as_object_mut().unwrap().remove("alg");
        }),
        ("HS256 with the modulus as the secret", |t| {
            t.header["alg"] = json!("HS256");
            t.text = Some(sign_with_secret(&RSA.public_bytes(), &t.header, &t.claims));
        }),
        ("HS256 with the key's JSON as the secret", |t| {
            t.header["alg"] = json!("HS256");
            t.text = Some(sign_with_secret(RSA.jwk().to_string().as_bytes(), &t.header, &t.claims));
        }),
        ("HS256 with an elliptic key as the secret", |t| {
            t.header = json!({"alg": "HS256", "kid": P256.kid});
            t.text = Some(sign_with_secret(&P256.public_bytes(), &t.header, &t.claims));
        }),
        ("HS256 with our client's secret", |t| {
            t.header["alg"] = json!("HS256");
            t.text = Some(sign_with_secret(
                crate::support::providers::provider::SECRET.as_bytes(),
                &t.header,
                &t.claims,
            ));
        }),
        ("HS256 with nothing as the secret", |t| {
            t.header["alg"] = json!("HS256");
            t.text = Some(sign_with_secret(b"", &t.header, &t.claims));
        }),
        ("PS256 by a key that is for RS256", |t| t.header["alg"] = json!("PS256")),
        ("RS512 by a key that is for RS256", |t| t.header["alg"] = json!("RS512")),
        ("ES256 said of an RSA key", |t| t.header["alg"] = json!("ES256")),
        ("a modulus of 1024 bits, published", |t| by(&SHORT, t)),
    ];
    all_fail(&provider, &attacks).await;
}

#[tokio::test]
async fn keys_and_rules_in_the_header_of_a_token_are_never_used() {
    let provider = TestProvider::open(keycloak());
    provider.internet.at("https://keys.example.net/jwks", |_| Reply::Json(json!({"keys": [STRANGER.jwk()]})));
    let attacks: [Attack; 13] = [
        ("a key in the header", |t| strange(t, "jwk", STRANGER.jwk())),
        ("the address of a key set", |t| strange(t, "jku", json!("https://keys.example.net/jwks"))),
        ("the address of a certificate", |t| strange(t, "x5u", json!("https://keys.example.net/jwks"))),
        ("a certificate", |t| strange(t, "x5c", json!(["MIIB"]))),
        ("a key id that is an address", |t| strange(t, "kid", json!("https://keys.example.net/jwks"))),
        ("a key id that is a path", |t| strange(t, "kid", json!("../../../../dev/null"))),
        ("a key id that is no text", |t| t.header["kid"] = json!(1)),
        ("well signed, and the key in the header all the same", |t| t.header["jwk"] = RSA.jwk()),
        ("crit with what there is", |t| t.header["crit"] = json!(["exp"])),
        ("crit with what there isn't", |t| t.header["crit"] = json!(["b64", "ours"])),
        ("crit empty", |t| t.header["crit"] = json!([])),
        ("a payload that isn't encoded", |t| t.header["b64"] = json!(false)),
        ("a token in a token", |t| t.header["cty"] = json!("JWT")),
    ];
    all_fail(&provider, &attacks).await;
    assert!(
        provider.internet.asked("https://keys.example.net/jwks").is_empty(),
        "nobody goes where a token points"
    );
}

#[tokio::test]
async fn claims_of_a_wrong_type_and_repeated_claims_are_refused() {
    let provider = TestProvider::open(keycloak());
    let attacks: [Attack; 22] = [
        ("exp past", |t| t.claims["exp"] = json!(now() - 100)),
        ("exp missing", |t| drop(t.claims.as_object_mut().unwrap().remove("exp"))),
        ("exp a text", |t| t.claims["exp"] = json!((now() + 3600).to_string())),
        ("exp a date", |t| t.claims["exp"] = json!("2099-01-01T00:00:00Z")),
        ("exp with a fraction", |t| t.claims["exp"] = json!(now() as f64 + 3600.5)),
        ("exp beyond all numbers", |t| t.claims["exp"] = json!(1e30)),
        ("exp null", |t| t.claims["exp"] = Value::Null),
        ("exp below zero", |t| t.claims["exp"] = json!(-1)),
        ("iat missing", |t| drop(t.claims.as_object_mut().unwrap().remove("iat"))),
        ("iat a text", |t| t.claims["iat"] = json!(now().to_string())),
        ("nbf a text", |t| t.claims["nbf"] = json!("0")),
        ("sub missing", |t| drop(t.claims.as_object_mut().unwrap().remove("sub"))),
        ("sub a list", |t| t.claims["sub"] = json!(["f3a1b2c4-0000-4000-8000-000000000001"])),
        ("sub of 256 characters", |t| t.claims["sub"] = json!("x".repeat(256))),
        ("sub with a line break", |t| t.claims["sub"] = json!("admin\n")),
        ("aud a list of numbers", |t| t.claims["aud"] = json!([1, "our-client-id"])),
        ("aud an object", |t| t.claims["aud"] = json!({"our-client-id": true})),
        ("azp another's", |t| t.claims["azp"] = json!("another")),
        ("iss a list", |t| t.claims["iss"] = json!(["https://login.example.org/realms/main"])),
        ("the nonce twice", |t| twice(t, "\"nonce\":\"first\",")),
        ("the subject twice, once spelled with escapes", |t| twice(t, "\"\\u0073ub\":\"somebody-else\",")),
        ("a payload that goes on after its end", |t| {
            let claims = format!("{}{}", t.claims, "{}");
            t.text = Some(RSA.sign_text(&t.header.to_string(), &claims));
        }),
    ];
    all_fail(&provider, &attacks).await;
}

/// Adds a member in front of the claims, which may repeat a claim; the signature is valid.
fn twice(token: &mut Token, more: &str) {
    let claims = token.claims.to_string().replacen('{', &format!("{{{more}"), 1);
    token.text = Some(RSA.sign_text(&token.header.to_string(), &claims));
}

#[tokio::test]
async fn only_the_canonical_encoding_of_a_token_is_accepted() {
    let provider = TestProvider::open(keycloak());
    let attacks: [Attack; 9] = [
        ("padding", |t| t.text = Some(format!("{}=", t.text()))),
        ("a part more", |t| t.text = Some(format!("{}.", t.text()))),
        ("a part less", |t| t.text = Some(t.text().rsplit_once('.').unwrap().0.into())),
        ("a blank before", |t| t.text = Some(format!(" {}", t.text()))),
        ("a blank within", |t| t.text = Some(t.text().replacen('.', ". ", 1))),
        ("the other alphabet", |t| t.text = Some(t.text().replace(['-', '_'], "+"))),
        ("unused bits set", |t| {
            // The last base64url character of 256 bytes has four unused bits.
            let mut text = t.text();
            let last = text.pop().unwrap();
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let at = alphabet.find(last).unwrap();
            text.push(alphabet.as_bytes()[at ^ 1].into());
            t.text = Some(text);
        }),
        ("as JSON", |t| {
            let text = t.text();
            let parts: Vec<&str> = text.split('.').collect();
            t.text =
                Some(json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string());
        }),
        ("another's header over this payload", |t| {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": NEXT.kid}).to_string());
            let text = t.text();
            t.text = Some(format!("{header}.{}", text.split_once('.').unwrap().1));
        }),
    ];
    all_fail(&provider, &attacks).await;
    let long = provider.somebody().presents(|t| t.claims["x"] = json!("y".repeat(45_000))).await;
    assert_eq!(long.status(), 200, "an ID token may have 64 KiB");
    let longer = provider.somebody().presents(|t| t.claims["x"] = json!("y".repeat(50_000))).await;
    assert_eq!(longer.status(), 401);
    let reason = "SELECT count(*) FROM audit WHERE event = 'login.failed' AND detail LIKE '%\"length\"%'";
    assert_eq!(provider.server.sqlite3(reason), "1", "a reason of its own");
    let huge = provider.somebody().presents(|t| t.claims["x"] = json!("y".repeat(80_000))).await;
    assert_eq!(huge.status(), 413, "refused before it is looked at");
}

#[tokio::test]
async fn an_unverified_mail_address_proves_no_domain() {
    let mut profile = keycloak();
    profile.settings = "[provider.keycloak]\nclient_id = 'our-client-id'\nclient_secret_file = 'secret'\n\
                        issuer = 'https://login.example.org/realms/main'\n\
                        create = 'allowed-domains'\nallowed_domains = ['example.org']";
    let provider = TestProvider::open(profile);
    let tries: [(Value, Value); 8] = [
        (json!("eve@example.org"), json!(false)),
        (json!("eve@example.org"), json!("false")),
        (json!("eve@example.org"), json!(1)),
        (json!("eve@example.org"), Value::Null),
        (json!("eve@example.org@evil.example"), json!(true)),
        (json!("eve@sub.example.org"), json!(true)),
        (json!("example.org"), json!(true)),
        (json!(["eve@example.org"]), json!(true)),
    ];
    for (mail, verified) in tries {
        let eve = provider.somebody();
        let answer = eve
            .presents(|t| (t.claims["email"], t.claims["email_verified"]) = (mail.clone(), verified.clone()))
            .await;
        assert_eq!(answer.status(), 403, "{mail} {verified}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "no_account");
    }
    assert_eq!(provider.server.sqlite3("SELECT count(*) FROM identities"), "0");
    assert_eq!(provider.somebody().presents(|_| {}).await.status(), 200);
}
