//! One JSON Web Key (RFC 7517): whether it can ever verify a signature, and if not, why.

use base64::{
    Engine as _, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD},
    },
};
use openidconnect::{
    JsonWebKey as _, SignatureVerificationError,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde_json::{Map, Value};

use super::keys::ALGORITHMS;

/// Bits of an RSA modulus: shorter is unsafe, longer is not supported.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Reads base64url with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Members that only a private or a shared key has (RFC 7518, 6.2.2, 6.3.2, 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The key, if it can verify; else the reason. Members that verification does not need are not read.
pub(super) fn usable(key: &Value) -> Result<CoreJsonWebKey, &'static str> {
    let members = key.as_object().ok_or("it is not a JSON object")?;
    let holds = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(why) };
    holds(!PRIVATE.iter().any(|name| members.contains_key(*name)), "it is private")?;
    let text = |name: &'static str, why: &'static str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(why),
    };
    let r#use = text("use", "`use` is not a text")?;
    holds(r#use.is_none_or(|said| said == "sig"), "`use` is not sig")?;
    let operations = members.get("key_ops").filter(|said| !said.is_null());
    let verifies = |said: &Value| said.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    holds(operations.is_none_or(verifies), "`key_ops` does not contain verify")?;
    text("kid", "`kid` is not a text")?;
    text("kty", "`kty` is not a text")?;
    text("alg", "`alg` is not a text")?;
    let curve = text("crv", "`crv` is not a text")?;
    let members = &canonical(members, curve)?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let algorithms = match (text("kty"), curve) {
        (Some("RSA"), _) => {
            rsa(members)?;
            &ALGORITHMS[..6]
        }
        (Some("EC"), Some("P-256")) => &["ES256"][..],
        (Some("EC"), Some("P-384")) => &["ES384"],
        (Some("OKP"), Some("Ed25519")) => &["EdDSA"],
        (Some("EC" | "OKP"), _) => return Err("`crv` is none of P-256, P-384, Ed25519"),
        _ => return Err("`kty` is none of RSA, EC, OKP"),
    };
    let algorithm = text("alg");
    holds(algorithm.is_none_or(|said| algorithms.contains(&said)), "`alg` is not supported for this key")?;
    let needed = ["kty", "use", "kid", "alg", "crv", "n", "e", "x", "y"];
    let needed: Map<String, Value> = needed
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), members.get(*name).filter(|v| !v.is_null())?.clone())))
        .collect();
    let read = serde_json::from_value::<CoreJsonWebKey>(Value::Object(needed));
    let key = read.map_err(|_| "it can't be read")?;
    let algorithm = algorithm.unwrap_or(algorithms[0]);
    let algorithm: CoreJwsSigningAlgorithm =
        serde_json::from_value(algorithm.into()).map_err(|_| "`alg` is not supported for this key")?;
    // No signature at all is wrong for every key; a key that can't be used fails before that is noticed.
    match key.verify_signature(&algorithm, b"", &[]) {
        Ok(()) | Err(SignatureVerificationError::CryptoError(_)) => Ok(key),
        Err(_) => Err("its numbers make no key (a point off its curve, or a part that is missing)"),
    }
}

/// Whether `key` may have made a signature by `algorithm`: of the right type, on the right curve, and not meant for another.
pub(super) fn is_for(key: &CoreJsonWebKey, algorithm: &CoreJwsSigningAlgorithm) -> bool {
    use openidconnect::core::CoreJsonWebKeyType as Type;
    let said = serde_json::to_value(key).unwrap_or_default();
    let name = serde_json::to_value(algorithm).unwrap_or_default();
    let named = said.get("alg").filter(|alg| !alg.is_null());
    let fits = match (key.key_type(), name.as_str().unwrap_or_default()) {
        (Type::RSA, name) => name.starts_with("RS") || name.starts_with("PS"),
        (Type::EllipticCurve, "ES256") => said["crv"] == "P-256",
        (Type::EllipticCurve, "ES384") => said["crv"] == "P-384",
        (Type::OctetKeyPair, "EdDSA") => true,
        _ => false,
    };
    fits && named.is_none_or(|alg| *alg == name)
}

/// The same key with its numbers as RFC 7518 writes them. Real ones have padding, the alphabet with `+` and `/`, zeros in
/// front of a number, or none where a coordinate needs them to have its length (6.2.1.2).
fn canonical(members: &Map<String, Value>, curve: Option<&str>) -> Result<Map<String, Value>, &'static str> {
    let mut members = members.clone();
    let length = match curve {
        Some("P-256" | "Ed25519") => 32,
        Some("P-384") => 48,
        _ => 0,
    };
    let numbers: &[&str] = match members.get("kty").and_then(Value::as_str) {
        Some("RSA") => &["n", "e"],
        Some("EC") => &["x", "y"],
        Some("OKP") => &["x"],
        _ => &[],
    };
    let is_point = numbers == ["x", "y"];
    for name in numbers {
        let Some(Value::String(text)) = members.get_mut(*name) else { continue };
        let mut bytes = LENIENT
            .decode(text.trim().replace('+', "-").replace('/', "_"))
            .map_err(|_| "one of `n`, `e`, `x`, `y` is not base64url")?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if is_point && bytes.len() != length && bytes.len() - zeros <= length {
            bytes.drain(..zeros);
            bytes.splice(..0, std::iter::repeat_n(0, length - bytes.len()));
        }
        *text = URL_SAFE_NO_PAD.encode(bytes);
    }
    Ok(members)
}

fn rsa(members: &Map<String, Value>) -> Result<(), &'static str> {
    let number = |name: &str| {
        let text = members.get(name).and_then(Value::as_str)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(bytes[zeros..].to_vec())
    };
    let modulus = number("n").ok_or("`n` is missing or not base64url")?;
    let exponent = number("e").ok_or("`e` is missing or not base64url")?;
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let bits =
        (modulus.len() * 8).saturating_sub(modulus.first().map_or(0, |byte| byte.leading_zeros() as usize));
    if !RSA_BITS.contains(&bits) || !is_odd(&modulus) {
        return Err("its modulus is not an odd number of 2048 to 4096 bits");
    }
    // 1 signs nothing, an even exponent has no private half.
    if !is_odd(&exponent) || exponent == [1] || exponent.len() > 4 {
        return Err("its exponent is not an odd number from 3 to 2^32 - 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa_key(more: Value) -> Value {
        let mut modulus = [0xFF_u8; 256];
        modulus[0] = 0xC0;
        let mut key = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    #[test]
    fn members_that_verification_does_not_need_may_be_of_any_type() {
        for more in [
            json!({}),
            json!({"use": null, "key_ops": null, "alg": null, "kid": null, "x5c": 1, "x5t": {}, "exp": [], "x": 7}),
            json!({"use": "sig", "key_ops": ["verify"], "alg": "PS384", "kid": "a", "ext": true}),
        ] {
            usable(&rsa_key(more.clone())).unwrap_or_else(|why| panic!("{more}: {why}"));
        }
    }

    #[test]
    fn numbers_with_padding_the_other_alphabet_or_zeros_too_many_or_too_few_are_the_same_key() {
        let plain = usable(&rsa_key(json!({"kid": "a"}))).unwrap();
        let modulus = rsa_key(json!({}))["n"].as_str().unwrap().to_owned();
        let bytes = URL_SAFE_NO_PAD.decode(&modulus).unwrap();
        let zeros_first = URL_SAFE_NO_PAD.encode([&[0], &bytes[..]].concat());
        for (n, e) in [
            (format!("{modulus}=="), "AQAB"),
            (modulus.replace('-', "+").replace('_', "/"), "AQAB"),
            (zeros_first, "AAEAAQ=="),
            (format!(" {modulus}\n"), "AAEAAQ"),
        ] {
            let key = rsa_key(json!({"kid": "a", "n": n, "e": e, "x": "not a number"}));
            assert!(usable(&key).unwrap().key_id() == plain.key_id(), "{key}");
        }
        // 379 times the generator of P-256: the first coordinate begins with a zero.
        let (x, y) =
            ("AFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAo", "u0yFo9jqKe-q-iRAaRLdhNWxTcMr9lbvbGvVil2UP5I");
        let point = |x: String, y: String| json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(x).unwrap()[1..]);
        let long = URL_SAFE_NO_PAD.encode([&[0][..], &URL_SAFE_NO_PAD.decode(y).unwrap()].concat());
        let plain = usable(&point(x.into(), y.into())).unwrap();
        for (x, y) in [(short, y.into()), (x.into(), long), (format!("{x}="), format!("{y}="))] {
            assert_eq!(usable(&point(x, y)), Ok(plain.clone()));
        }
        assert_eq!(usable(&rsa_key(json!({"n": "a*b"}))), Err("one of `n`, `e`, `x`, `y` is not base64url"));
    }

    #[test]
    fn a_key_that_can_never_verify_is_refused() {
        // The generator of P-256 (SEC 2, 2.4.2), and a point beside it.
        let (x, y) =
            ("axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU");
        let point = |x: &str, y: &str, crv: &str| json!({"kty": "EC", "crv": crv, "x": x, "y": y});
        usable(&point(x, y, "P-256")).unwrap();
        for bad in [
            rsa_key(json!({"e": ""})),
            rsa_key(json!({"e": "AA"})),
            rsa_key(json!({"e": "AQ"})),
            rsa_key(json!({"e": "AAAB"})),
            rsa_key(json!({"e": "Ag"})),
            rsa_key(json!({"e": null})),
            rsa_key(json!({"e": "__________8"})),
            rsa_key(json!({"n": URL_SAFE_NO_PAD.encode([0xFF; 255])})),
            rsa_key(json!({"n": URL_SAFE_NO_PAD.encode([0xFE; 256])})),
            rsa_key(json!({"n": URL_SAFE_NO_PAD.encode([0xFF; 513])})),
            rsa_key(json!({"use": "enc"})),
            rsa_key(json!({"key_ops": ["sign"]})),
            rsa_key(json!({"key_ops": "verify"})),
            rsa_key(json!({"alg": "ES256"})),
            rsa_key(json!({"alg": "HS256"})),
            rsa_key(json!({"alg": "RSA-OAEP"})),
            rsa_key(json!({"alg": "none"})),
            rsa_key(json!({"kid": 7})),
            rsa_key(json!({"d": "AQAB"})),
            rsa_key(json!({"p": "AQAB"})),
            point(x, x, "P-256"),
            point(x, y, "P-384"),
            point(x, y, "P-521"),
            point(x, y, "secp256k1"),
            point(x, "", "P-256"),
            json!({"kty": "EC", "crv": "P-256", "x": x}),
            json!({"kty": "OKP", "crv": "Ed448", "x": x}),
            json!({"kty": "OKP", "crv": "X25519", "x": x}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AQAB"}),
            json!({"kty": "oct", "k": "AQAB"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"}),
            json!({}),
            json!([]),
        ] {
            assert!(usable(&bad).is_err(), "{bad}");
        }
    }
}
