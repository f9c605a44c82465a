//! Signing keys of the simulated providers and of attackers.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use rsa::{signature::SignatureEncoding as _, traits::PublicKeyParts as _};
use serde_json::{Value, json};

/// A key with a key id.
pub struct Signer {
    pub kid: &'static str,
    key: Key,
}

enum Key {
    Rsa(rsa::RsaPrivateKey),
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

pub static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-1", 2048));
/// The key that replaces the first one.
pub static NEXT: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-2", 2048));
/// A foreign key with the same key id as the first one.
pub static STRANGER: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("rsa-1", 2048));
pub static SHORT: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("short", 1024));
pub static P256: LazyLock<Signer> = LazyLock::new(|| Signer {
    kid: "p256",
    key: Key::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()),
});
/// A foreign key with the same key id.
pub static P256_STRANGER: LazyLock<Signer> = LazyLock::new(|| Signer {
    kid: "p256",
    key: Key::P256(p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap()),
});
pub static ED25519: LazyLock<Signer> = LazyLock::new(|| Signer {
    kid: "ed",
    key: Key::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[9; 32])),
});

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn rsa(kid: &'static str, bits: usize) -> Self {
        Self { kid, key: Key::Rsa(rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap()) }
    }

    /// The algorithm of this key's signatures, unless the header says otherwise.
    pub fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        }
    }

    /// The public half, as a JSON Web Key (JWK).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(key) => {
                json!({"kty": "RSA", "n": base64url(key.n().to_bytes_be()), "e": base64url(key.e().to_bytes_be())})
            }
            Key::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                json!({"kty": "EC", "crv": "P-256", "x": base64url(point.x().unwrap()), "y": base64url(point.y().unwrap())})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(key.verifying_key().as_bytes())})
            }
        };
        jwk["kid"] = self.kid.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk
    }

    /// Both halves of a P-256 key, as a JWK.
    pub fn private_jwk(&self) -> Value {
        let Key::P256(key) = &self.key else { panic!("{} is on another curve", self.kid) };
        let mut jwk = self.jwk();
        jwk["d"] = base64url(key.to_bytes()).into();
        jwk
    }

    /// The bytes of the public key, for attacks that use it as an HMAC secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.n().to_bytes_be(),
            Key::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Key::Ed25519(key) => key.verifying_key().to_bytes().to_vec(),
        }
    }

    /// Returns a signed token. The signature has the algorithm of the header's `alg` if this key supports it, and otherwise
    /// [`Self::algorithm`].
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// As [`Self::sign`], over texts that need not be valid JSON.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let said = serde_json::from_str::<Value>(header).unwrap_or_default();
        format!("{message}.{}", base64url(self.signature(said["alg"].as_str(), message.as_bytes())))
    }

    fn signature(&self, algorithm: Option<&str>, message: &[u8]) -> Vec<u8> {
        use rsa::signature::{RandomizedSigner as _, Signer as _};
        match (&self.key, algorithm) {
            (Key::Rsa(key), Some("RS512")) => {
                rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha512>::new(key.clone()).sign(message).to_vec()
            }
            (Key::Rsa(key), Some("PS256")) => rsa::pss::SigningKey::<rsa::sha2::Sha256>::new(key.clone())
                .sign_with_rng(&mut rsa::rand_core::OsRng, message)
                .to_vec(),
            (Key::Rsa(key), _) => {
                rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(key.clone()).sign(message).to_vec()
            }
            (Key::P256(key), _) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (Key::Ed25519(key), _) => ed25519_dalek::Signer::sign(key, message).to_bytes().to_vec(),
        }
    }
}

/// Returns a token signed with `HS256` under the given bytes.
pub fn sign_with_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", base64url(mac.finalize().into_bytes()))
}

/// A public key with one member changed.
pub fn with_member(mut key: Value, member: &str, to: &str) -> Value {
    key[member] = json!(to);
    key
}
