//! Tests ten thousand foreign tokens, each with another key id.

use std::{path::Path, sync::Arc};

use bulla::internals::{
    clock::{Clock as _, SystemClock},
    config::{Layer, Settings},
    fetch::Fetch,
    identity::openid::{OpenIdError, Provider},
};
use serde_json::json;

use crate::support::providers::{
    internet::{Internet, Reply},
    provider::{CLIENT, now},
    signer::{RSA, STRANGER},
};

#[tokio::test]
async fn ten_thousand_unknown_key_ids_cause_one_fetch() {
    let internet = Internet::new();
    let issuer = internet.plain();
    let document = json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    });
    internet.at("127.0.0.1/.well-known/openid-configuration", move |_| Reply::Json(document.clone()));
    internet.at("127.0.0.1/jwks", |_| Reply::Json(json!({"keys": [RSA.jwk()]})));
    let settings = format!("[provider.local]\nclient_id = '{CLIENT}'\nissuer = '{issuer}'");
    let settings = Settings::resolve(&[Layer::file(Path::new("t"), &settings).unwrap()]).unwrap();
    let provider = Provider::new(settings.providers[0].clone(), Arc::new(Fetch::default()));

    let claims =
        json!({"iss": issuer, "aud": CLIENT, "sub": "1", "nonce": "n", "iat": now(), "exp": now() + 600});
    let check = async |token: String| provider.check(&token, "n", SystemClock.now()).await;
    let honest = RSA.sign(&json!({"alg": "RS256", "kid": RSA.kid}), &claims);
    check(honest.clone()).await.unwrap();
    assert_eq!(internet.asked("127.0.0.1/jwks").len(), 1);

    // One signature is enough for all, because no token's signature is verified.
    let strange = STRANGER.sign(&json!({"alg": "RS256", "kid": "x"}), &claims);
    let rest = strange.split_once('.').unwrap().1;
    let started = std::time::Instant::now();
    for n in 0..10_000 {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": format!("key {n}")}).to_string());
        assert_eq!(check(format!("{header}.{rest}")).await, Err(OpenIdError::Refused("kid")));
    }
    let spacings = started.elapsed().as_secs() / 30 + 1;
    let fetched = internet.asked("127.0.0.1/jwks").len() as u64 - 1;
    assert!((1..=spacings).contains(&fetched), "{fetched} fetches in {:?}", started.elapsed());
    check(honest).await.unwrap();
}
