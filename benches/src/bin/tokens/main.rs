//! Measures sealing and opening of a 100-byte payload, compared with other common token libraries.

mod race;

use std::{process::ExitCode, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bulla::internals::{
    clock::{Clock, SystemClock, Timestamp},
    ids::{Audience, Purpose},
    keyring::{KeyState, Ring, RingKey, RootKey, Suite},
    token::{OpenBuffer, SealCounts, TokenKeys},
};
use bulla_bench::table;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pasetors::{
    Local,
    keys::SymmetricKey,
    token::UntrustedToken,
    version4::{LocalToken, V4},
};
use serde::{Deserialize, Serialize};

use race::{Contender, Figure, contender, race};

/// The payload of every contender: exactly 100 bytes of JSON.
const PAYLOAD: &str =
    r#"{"id":"4242","sid":"Zt3kq9fLx0aVbN7uYh2mQw","roles":["reader","editor"],"exp":4102444800,"plan":"t"}"#;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    id: String,
    sid: String,
    roles: Vec<String>,
    exp: u64,
    plan: String,
}

/// The claims, borrowed from the buffer of the opened token.
#[derive(Deserialize)]
#[allow(dead_code)]
struct View<'a> {
    id: &'a str,
    sid: &'a str,
    #[serde(borrow)]
    roles: Vec<&'a str>,
    exp: u64,
    plan: &'a str,
}

fn main() -> ExitCode {
    assert_eq!(PAYLOAD.len(), 100);
    let claims: Claims = serde_json::from_str(PAYLOAD).expect("the payload is JSON");
    assert_eq!(serde_json::to_string(&claims).expect("claims are JSON"), PAYLOAD);
    let now = SystemClock.now();

    let suites: Vec<(&str, TokenKeys)> =
        [("X", Suite::Xaes256Gcm), ("A", Suite::Aes256Gcm), ("C", Suite::XChaCha20Poly1305)]
            .map(|(letter, suite)| (letter, token_keys(suite, now)))
            .into();
    let mut opens = Vec::new();
    let mut seals = Vec::new();
    for (letter, keys) in &suites {
        bulla(letter, keys, &claims, &mut seals, &mut opens);
    }
    jwt(&claims, &mut seals, &mut opens);
    paseto(&claims, &mut seals, &mut opens);
    branca(&claims, &mut seals, &mut opens);
    fernet(&claims, &mut seals, &mut opens);

    println!("Open (verify, decrypt, check the age) a token with a payload of 100 bytes\n");
    let opens = race(opens);
    print(&opens);
    println!("\nSeal\n");
    print(&race(seals));
    println!();

    let x = find(&opens, "Bulla X, open");
    let a = find(&opens, "Bulla A, open");
    let jwt = find(&opens, "JWT HS256").nanos;
    let kept = [
        table::verdict("open, suite X / JWT HS256", x.nanos / jwt, 0.33, true),
        table::verdict("open, suite A / JWT HS256", a.nanos / jwt, 0.25, true),
        table::verdict("heap allocations of an open", (x.allocations + a.allocations) as f64, 0.0, true),
    ];
    if kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn find<'f>(figures: &'f [Figure], name: &str) -> &'f Figure {
    figures.iter().find(|figure| figure.name == name).expect("a contender of that name")
}

fn print(figures: &[Figure]) {
    let jwt =
        figures.iter().find(|figure| figure.name.starts_with("JWT HS256")).expect("JWT runs along").nanos;
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            vec![
                figure.name.clone(),
                table::thousands(figure.nanos),
                format!("{:.2}", figure.nanos / jwt),
                figure.allocations.to_string(),
            ]
        })
        .collect();
    table::print(&["", "ns", "of JWT HS256", "allocations"], &rows);
}

/// The derived keys of a ring with one key.
fn token_keys(suite: Suite, now: Timestamp) -> TokenKeys {
    let root = RootKey::generate(suite).expect("the system's generator works");
    let key = RingKey { kid: root.kid(), state: KeyState::Active, suite, since: now, root: Some(root) };
    let ring = Ring { generation: 1, not_before: Timestamp::EPOCH, fingerprint: [0; 32], keys: vec![key] };
    TokenKeys::derive_counted(&ring, &Purpose::access(), &Audience::own(), &Arc::new(SealCounts::default()))
}

fn bulla<'a>(
    letter: &str,
    keys: &'a TokenKeys,
    claims: &Claims,
    seals: &mut Vec<Contender<'a>>,
    opens: &mut Vec<Contender<'a>>,
) {
    let max_age = std::time::Duration::from_secs(120);
    let token = keys.seal_at(PAYLOAD, SystemClock.now()).expect("seals").into_string();
    let claims = claims.clone();
    seals.push(contender(&format!("Bulla {letter}"), move || {
        let payload = serde_json::to_string(&claims).expect("claims are JSON");
        keys.seal_at(&payload, SystemClock.now()).expect("seals")
    }));
    let (text, mut buffer) = (token.clone(), OpenBuffer::new());
    opens.push(contender(&format!("Bulla {letter}, open"), move || {
        let opened = keys.open_at(&text, SystemClock.now(), max_age, &mut buffer).expect("opens");
        opened.payload.len()
    }));
    let mut buffer = OpenBuffer::new();
    opens.push(contender(&format!("Bulla {letter}, open and read into a struct"), move || {
        let opened = keys.open_at(&token, SystemClock.now(), max_age, &mut buffer).expect("opens");
        opened.parse::<View<'_>>().expect("reads").payload.exp
    }));
}

fn jwt<'a>(claims: &Claims, seals: &mut Vec<Contender<'a>>, opens: &mut Vec<Contender<'a>>) {
    let mut add = |name: &str, algorithm: Algorithm, seal: EncodingKey, open: DecodingKey| {
        let header = Header::new(algorithm);
        let token = jsonwebtoken::encode(&header, claims, &seal).expect("signs");
        let validation = Validation::new(algorithm);
        let claims = claims.clone();
        seals.push(contender(name, move || jsonwebtoken::encode(&header, &claims, &seal).expect("signs")));
        opens.push(contender(name, move || {
            jsonwebtoken::decode::<Claims>(&token, &open, &validation).expect("verifies")
        }));
    };
    let secret = [7; 32];
    add("JWT HS256", Algorithm::HS256, EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret));

    let pair = Ed25519KeyPair::generate().expect("makes a key");
    let pkcs8 = pair.to_pkcs8().expect("has a form");
    let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    add(
        "JWT EdDSA",
        Algorithm::EdDSA,
        EncodingKey::from_ed_der(pkcs8.as_ref()),
        DecodingKey::from_ed_components(&public).expect("is a public key"),
    );
}

fn paseto<'a>(claims: &Claims, seals: &mut Vec<Contender<'a>>, opens: &mut Vec<Contender<'a>>) {
    let key = SymmetricKey::<V4>::from(&[7; 32]).expect("32 bytes");
    let token = LocalToken::encrypt(&key, PAYLOAD.as_bytes(), None, None).expect("seals");
    let (seal_key, claims) = (key.clone(), claims.clone());
    seals.push(contender("PASETO v4.local", move || {
        let payload = serde_json::to_vec(&claims).expect("claims are JSON");
        LocalToken::encrypt(&seal_key, &payload, None, None).expect("seals")
    }));
    opens.push(contender("PASETO v4.local", move || {
        let untrusted = UntrustedToken::<Local, V4>::try_from(token.as_str()).expect("has the form");
        let trusted = LocalToken::decrypt(&key, &untrusted, None, None).expect("opens");
        serde_json::from_str::<Claims>(trusted.payload()).expect("claims")
    }));
}

fn branca<'a>(claims: &Claims, seals: &mut Vec<Contender<'a>>, opens: &mut Vec<Contender<'a>>) {
    let key = [7; 32];
    let seconds = |now: Timestamp| u32::try_from(now.millis() / 1000).expect("before 2106");
    let token = branca::encode(PAYLOAD.as_bytes(), &key, seconds(SystemClock.now())).expect("seals");
    let claims = claims.clone();
    seals.push(contender("Branca", move || {
        let payload = serde_json::to_vec(&claims).expect("claims are JSON");
        branca::encode(&payload, &key, seconds(SystemClock.now())).expect("seals")
    }));
    opens.push(contender("Branca", move || {
        let payload = branca::decode(&token, &key, 3600).expect("opens");
        serde_json::from_slice::<Claims>(&payload).expect("claims")
    }));
}

fn fernet<'a>(claims: &Claims, seals: &mut Vec<Contender<'a>>, opens: &mut Vec<Contender<'a>>) {
    let fernet = Arc::new(fernet::Fernet::new(&fernet::Fernet::generate_key()).expect("is a key"));
    let token = fernet.encrypt(PAYLOAD.as_bytes());
    let (seal, claims) = (Arc::clone(&fernet), claims.clone());
    seals.push(contender("Fernet", move || {
        seal.encrypt(&serde_json::to_vec(&claims).expect("claims are JSON"))
    }));
    opens.push(contender("Fernet", move || {
        let payload = fernet.decrypt_with_ttl(&token, 3600).expect("opens");
        serde_json::from_slice::<Claims>(&payload).expect("claims")
    }));
}
