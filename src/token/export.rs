//! What an integrator gets: derived keys of one purpose and audience (DESIGN 3).

use std::time::Duration;

use crate::{
    ids::{Audience, Purpose},
    keyring::Ring,
    token::TokenKeys,
};

/// The exported key file. Its JSON form is DESIGN 3's.
#[derive(Debug)]
pub struct KeyExport {}

impl KeyExport {
    /// Derives from the staged, active and retired keys. The caller decides what may be exported.
    pub fn new(ring: &Ring, purpose: &Purpose, audience: &Audience, max_age: Duration) -> Self {
        let _ = (ring, purpose, audience, max_age);
        todo!()
    }

    /// Reads the JSON form, strictly.
    pub fn from_json(text: &str) -> Result<Self, crate::token::Refused> {
        let _ = text;
        todo!()
    }

    /// The JSON form; holds keys.
    pub fn to_json(&self) -> zeroize::Zeroizing<String> {
        todo!()
    }

    /// The keys, ready to open (and, for machines that issue to one another, to seal).
    pub fn keys(&self) -> TokenKeys {
        todo!()
    }

    /// How old a token may be.
    pub fn max_age(&self) -> Duration {
        todo!()
    }
}
