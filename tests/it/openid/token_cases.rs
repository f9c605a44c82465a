//! Tables of good and bad tokens. Each token is used in a complete login in a browser and must have the result in its row.

use serde_json::{Value, json};

use crate::support::providers::{
    provider::{TestProvider, Token, now},
    signer::{RSA, STRANGER, Signer},
};
use crate::support::server::{ACCESS, set_cookies};

/// The result of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user is signed in.
    In,
    /// 401, no session.
    Refused,
    /// 403: the identity is proven, but no user has it.
    NoAccount,
}

pub type Case = (&'static str, End, fn(&mut Token));

/// Cases that have the same result for every provider.
pub const EVERYWHERE: [Case; 14] = [
    ("as documented", End::In, |_| {}),
    ("a minute of clocks apart", End::In, |t| {
        (t.claims["exp"], t.claims["iat"]) = (json!(now() - 50), json!(now() + 50))
    }),
    ("expired", End::Refused, |t| t.claims["exp"] = json!(now() - 61)),
    ("issued in the future", End::Refused, |t| t.claims["iat"] = json!(now() + 75)),
    ("not before later", End::Refused, |t| t.claims["nbf"] = json!(now() + 600)),
    ("for another client", End::Refused, |t| t.claims["aud"] = json!("somebody-elses-client")),
    ("for nobody", End::Refused, |t| drop(t.claims.as_object_mut().unwrap().remove("aud"))),
    ("from another issuer", End::Refused, |t| t.claims["iss"] = json!("https://login.evil.example")),
    ("an issuer with a path more", End::Refused, |t| {
        t.claims["iss"] = json!(format!("{}/x", text(&t.claims["iss"])))
    }),
    ("of another login", End::Refused, |t| t.claims["nonce"] = json!("another-nonce")),
    ("of no login", End::Refused, |t| drop(t.claims.as_object_mut().unwrap().remove("nonce"))),
    ("about nobody", End::Refused, |t| t.claims["sub"] = json!("")),
    ("signed by a stranger under the provider's key id", End::Refused, |t| t.signer = &STRANGER),
    ("not signed at all", End::Refused, |t| {
        t.header["alg"] = json!("none");
        let signed = RSA.sign(&t.header, &t.claims);
        t.text = Some(format!("{}.", signed.rsplit_once('.').unwrap().0));
    }),
];

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Signs with a key other than the first; the provider must publish it.
pub fn by(signer: &'static Signer, token: &mut Token) {
    token.signer = signer;
    token.header["kid"] = json!(signer.kid);
    token.header["alg"] = json!(signer.algorithm());
}

/// Tries all cases and reports every case with another result.
pub async fn try_all(provider: &TestProvider, cases: &[Case]) {
    assert!(cases.len() >= 12, "only {}", cases.len());
    let mut wrong = Vec::new();
    for (name, end, twist) in cases {
        let person = provider.somebody();
        let answer = person.signs_in(twist).await;
        let status = answer.status().as_u16();
        let cookies = set_cookies(&answer);
        let session = cookies.iter().any(|line| line.starts_with(ACCESS));
        let ended = match (status, session, cookies.len()) {
            (303, true, 3) => Some(End::In),
            (401, false, 0) => Some(End::Refused),
            (403, false, 0) => Some(End::NoAccount),
            _ => None,
        };
        if ended != Some(*end) {
            wrong.push(format!("{name}: {status} {cookies:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}:\n  {}\n{}",
        provider.profile.name,
        wrong.join("\n  "),
        provider.server.stderr()
    );
    refuses_codes(provider).await;
}

/// Checks the provider's refusals at its token endpoint, in the provider's format.
async fn refuses_codes(provider: &TestProvider) {
    let person = provider.somebody();
    let url = person.leaves().await;
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let invented = person.comes_back(&url, &[("code", "invented"), ("state", &state)]).await;
    assert_eq!(invented.status(), 401);
    let denied = person.comes_back(&url, &[("error", "access_denied"), ("state", &state)]).await;
    assert_eq!((denied.status().as_u16(), set_cookies(&denied).len()), (401, 0));
    let page = denied.text().await.unwrap();
    assert!(page.contains("failed. Please try again.") && !page.contains("access_denied"), "{page}");
}
