//! One JSON Web Key (RFC 7517): reads a public key, and verifies signatures with it.

use base64::{
    Engine as _, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD},
    },
};
use curve25519_dalek::edwards::CompressedEdwardsY;
use ring::{
    agreement,
    rand::SystemRandom,
    signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm},
};
use serde_json::{Map, Value};

use super::Algorithm;

/// The accepted lengths of an RSA modulus in bits. Shorter moduli are unsafe, longer ones are not supported.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Reads base64url with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Members that only a private or a shared key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key that can verify signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    numbers: Numbers,
}

/// The public numbers of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Numbers {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point (SEC 1, section 2.3.3).
    P256(Vec<u8>),
    /// An uncompressed point, as above, on the curve P-384.
    P384(Vec<u8>),
    Ed25519([u8; 32]),
}

impl Numbers {
    /// The algorithms that a key of this type can be used with.
    fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Rsa { .. } => &[
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
            Self::P256(_) => &[Algorithm::Es256],
            Self::P384(_) => &[Algorithm::Es384],
            Self::Ed25519(_) => &[Algorithm::EdDsa],
        }
    }

    /// Reads the members of a key in their canonical form.
    fn read(members: &Map<String, Value>, curve: Option<&str>) -> Result<Self, &'static str> {
        let number = |name: &str| {
            let text = members.get(name).and_then(Value::as_str)?;
            URL_SAFE_NO_PAD.decode(text).ok()
        };
        let point = |length: usize, algorithm: &'static agreement::Algorithm| {
            let (x, y) = number("x").zip(number("y")).ok_or("`x` or `y` is missing")?;
            let point = [&[4], &x[..], &y[..]].concat();
            let fits = x.len() == length && y.len() == length && is_on_curve(&point, algorithm);
            if fits { Ok(point) } else { Err("its point is not on its curve") }
        };
        match (members.get("kty").and_then(Value::as_str), curve) {
            (Some("RSA"), _) => {
                let (n, e) = rsa(members)?;
                Ok(Self::Rsa { n, e })
            }
            (Some("EC"), Some("P-256")) => Ok(Self::P256(point(32, &agreement::ECDH_P256)?)),
            (Some("EC"), Some("P-384")) => Ok(Self::P384(point(48, &agreement::ECDH_P384)?)),
            (Some("OKP"), Some("Ed25519")) => {
                let point = number("x").and_then(|x| <[u8; 32]>::try_from(x).ok());
                let point = point.ok_or("`x` is not 32 bytes")?;
                let decoded = CompressedEdwardsY(point).decompress();
                let decoded = decoded.filter(|decoded| decoded.compress().0 == point);
                match decoded.ok_or("its point is not on its curve")?.is_small_order() {
                    // With a point of small order, anyone can make a valid signature.
                    true => Err("its point has a small order"),
                    false => Ok(Self::Ed25519(point)),
                }
            }
            (Some("EC" | "OKP"), _) => Err("`crv` is not P-256, P-384 or Ed25519"),
            _ => Err("`kty` is not RSA, EC or OKP"),
        }
    }
}

/// Whether a point is on its curve. `ring` tells this only in a key agreement; a signature verification fails without a reason.
fn is_on_curve(point: &[u8], algorithm: &'static agreement::Algorithm) -> bool {
    let own = agreement::EphemeralPrivateKey::generate(algorithm, &SystemRandom::new());
    let other = agreement::UnparsedPublicKey::new(algorithm, point);
    own.is_ok_and(|own| agreement::agree_ephemeral(own, &other, |_| ()).is_ok())
}

impl Key {
    /// Reads a key that can verify signatures. The error says why the key can't. Members that verification does not need are not
    /// read.
    pub(super) fn read(key: &Value) -> Result<Self, &'static str> {
        let members = key.as_object().ok_or("it is not a JSON object")?;
        let holds = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(why) };
        holds(!PRIVATE.iter().any(|name| members.contains_key(*name)), "it is a private key")?;
        let text = |name: &'static str, why: &'static str| match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(why),
        };
        let r#use = text("use", "`use` is not a string")?;
        holds(r#use.is_none_or(|said| said == "sig"), "`use` is not sig")?;
        let operations = members.get("key_ops").filter(|said| !said.is_null());
        let verifies =
            |said: &Value| said.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        holds(operations.is_none_or(verifies), "`key_ops` does not contain verify")?;
        let id = text("kid", "`kid` is not a string")?.map(str::to_owned);
        text("kty", "`kty` is not a string")?;
        let named = text("alg", "`alg` is not a string")?;
        let curve = text("crv", "`crv` is not a string")?;
        let numbers = Numbers::read(&canonical(members, curve)?, curve)?;
        let algorithm = named.map(|name| {
            let mut known = numbers.algorithms().iter().copied();
            known.find(|algorithm| algorithm.name() == name).ok_or("`alg` is not supported for this key")
        });
        Ok(Self { id, algorithm: algorithm.transpose()?, numbers })
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether this key can be used with `algorithm`: its type and curve match, and its `alg` does not name another algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.numbers.algorithms().contains(&algorithm)
            && self.algorithm.is_none_or(|named| named == algorithm)
    }

    /// Whether this key made the signature.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match &self.numbers {
            Numbers::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                rsa_parameters(algorithm).is_some_and(|with| key.verify(with, message, signature).is_ok())
            }
            Numbers::P256(point) => verify(&signature::ECDSA_P256_SHA256_FIXED, point, message, signature),
            Numbers::P384(point) => verify(&signature::ECDSA_P384_SHA384_FIXED, point, message, signature),
            Numbers::Ed25519(point) => verify(&signature::ED25519, point, message, signature),
        }
    }
}

fn verify(with: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(with, key).verify(message, signature).is_ok()
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

/// Returns the members with numbers in the form of RFC 7518. Real keys deviate from it: they have padding, the alphabet with `+`
/// and `/`, leading zeros, or coordinates without the leading zeros that their length requires (section 6.2.1.2).
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
            .map_err(|_| "one of `n`, `e`, `x` and `y` is not base64url")?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if is_point && bytes.len() != length && bytes.len() - zeros <= length {
            bytes.drain(..zeros);
            bytes.splice(..0, std::iter::repeat_n(0, length - bytes.len()));
        }
        *text = URL_SAFE_NO_PAD.encode(bytes);
    }
    Ok(members)
}

/// Modulus and exponent of an RSA key.
fn rsa(members: &Map<String, Value>) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
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
    // With exponent 1 anyone can sign; an even exponent has no private key.
    if !is_odd(&exponent) || exponent == [1] || exponent.len() > 4 {
        return Err("its exponent is not an odd number from 3 to 2^32 - 1");
    }
    Ok((modulus, exponent))
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
            Key::read(&rsa_key(more.clone())).unwrap_or_else(|why| panic!("{more}: {why}"));
        }
    }

    #[test]
    fn deviating_encodings_of_the_numbers_give_the_same_key() {
        let plain = Key::read(&rsa_key(json!({"kid": "a"}))).unwrap();
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
            assert!(Key::read(&key).unwrap() == plain, "{key}");
        }
        // The point is 379 times the generator of P-256: its first coordinate begins with a zero byte.
        let (x, y) =
            ("AFVDiUrz0A7X10Cr29dclrBod7eH219w7qeLkKjXwAo", "u0yFo9jqKe-q-iRAaRLdhNWxTcMr9lbvbGvVil2UP5I");
        let point = |x: String, y: String| json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(x).unwrap()[1..]);
        let long = URL_SAFE_NO_PAD.encode([&[0][..], &URL_SAFE_NO_PAD.decode(y).unwrap()].concat());
        let plain = Key::read(&point(x.into(), y.into())).unwrap();
        for (x, y) in [(short, y.into()), (x.into(), long), (format!("{x}="), format!("{y}="))] {
            assert_eq!(Key::read(&point(x, y)), Ok(plain.clone()));
        }
        assert_eq!(
            Key::read(&rsa_key(json!({"n": "a*b"}))),
            Err("one of `n`, `e`, `x` and `y` is not base64url")
        );
    }

    #[test]
    fn a_key_that_can_never_verify_is_refused() {
        // The generator of P-256 (SEC 2, 2.4.2), and a point that is not on the curve.
        let (x, y) =
            ("axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU");
        let point = |x: &str, y: &str, crv: &str| json!({"kty": "EC", "crv": crv, "x": x, "y": y});
        Key::read(&point(x, y, "P-256")).unwrap();
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
            json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([&[1][..], &[0; 31]].concat())}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([&[0xee][..], &[0xff; 30], &[0x7f]].concat())}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([2; 32])}),
            json!({"kty": "oct", "k": "AQAB"}),
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQAB"}),
            json!({}),
            json!([]),
        ] {
            assert!(Key::read(&bad).is_err(), "{bad}");
        }
    }
}
