//! The password hashes in the table of users: how new ones are made, and which are accepted.

use std::sync::OnceLock;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::foreign_hash::ForeignHash;
use crate::secret;

/// The cost of new hashes: memory in KiB, passes and lanes (OWASP's minimum for Argon2id; RFC 9106).
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// The maximum cost of a stored hash that is accepted. With a higher cost, a single row could block the server.
const MOST: (u32, u32, u32) = (256 * 1024, 16, 8);
/// The maximum memory in KiB times the passes: about one second of one core.
const MOST_WORK: u64 = 1024 * 1024;
/// Block count just above 32 MiB. Allocations above 32 MiB are always mapped separately, so the system gets the memory back when
/// it is freed. Only the blocks in use are ever touched.
const APART: usize = (33 << 20) / Block::SIZE;

/// A function of the family Argon2 (RFC 9106). Bulla uses Argon2id in version 1.3; other systems have used the others.
#[derive(Clone)]
pub(super) struct Argon2Function {
    algorithm: Algorithm,
    version: Version,
    params: Params,
}

impl Argon2Function {
    /// The function of new hashes.
    fn of_new_hashes() -> Option<Self> {
        let params = Params::new(COST.0, COST.1, COST.2, Some(32)).ok()?;
        Some(Self { algorithm: Algorithm::Argon2id, version: Version::V0x13, params })
    }

    /// `None` if the system gives no memory.
    fn derive(&self, password: &str, salt: &[u8], memory: &mut Vec<Block>) -> Option<Zeroizing<Vec<u8>>> {
        let blocks = self.params.block_count();
        if memory.len() < blocks {
            memory.try_reserve_exact(blocks.max(APART) - memory.len()).ok()?;
            memory.resize_with(blocks, Block::new);
        }
        let length = self.params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let mut output = Zeroizing::new(vec![0; length]);
        Argon2::new(self.algorithm, self.version, self.params.clone())
            .hash_password_into_with_memory(password.as_bytes(), salt, &mut output, &mut memory[..blocks])
            .ok()?;
        Some(output)
    }
}

/// A checked hash from the database.
#[derive(Clone)]
pub(super) enum Stored {
    Argon2 { function: Argon2Function, salt: Vec<u8>, output: Vec<u8> },
    Foreign(ForeignHash),
}

impl Stored {
    /// `None` if the format is unknown or the cost is too high.
    pub(super) fn read(text: &str) -> Option<Self> {
        // Django writes the name of its hasher before the PHC string.
        let phc = text.strip_prefix("argon2$").map_or(text, |_| &text["argon2".len()..]);
        if phc.starts_with("$argon2") {
            return Self::read_argon2(phc);
        }
        ForeignHash::read(text).or_else(|| ForeignHash::read_aspnet(text)).map(Self::Foreign)
    }

    fn read_argon2(text: &str) -> Option<Self> {
        let phc = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
        let modest = params.m_cost() <= MOST.0
            && params.t_cost() <= MOST.1
            && params.p_cost() <= MOST.2
            && work <= MOST_WORK;
        let algorithm = Algorithm::new(phc.algorithm.as_str()).ok()?;
        // A hash without a version is older than version 1.3.
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        let output = phc.hash?.as_bytes().to_vec();
        (modest && output.len() >= 16).then_some(())?;
        let function = Argon2Function { algorithm, version, params };
        Some(Self::Argon2 { function, salt: phc.salt?.to_vec(), output })
    }

    /// Whether the password has this hash. Compares in constant time. `None` if the system gives no memory.
    pub(super) fn matches(&self, password: &str, memory: &mut Vec<Block>) -> Option<bool> {
        match self {
            Self::Argon2 { function, salt, output } => {
                let derived = function.derive(password, salt, memory)?;
                Some(bool::from(derived.as_slice().ct_eq(output)))
            }
            Self::Foreign(hash) => Some(hash.matches(password)),
        }
    }

    /// Whether the hash has the form and the cost of Bulla's own hashes.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Argon2 { function: Argon2Function { algorithm, version, params }, .. } => {
                *algorithm == Algorithm::Argon2id
                    && *version == Version::V0x13
                    && (params.m_cost(), params.t_cost(), params.p_cost()) == COST
            }
            Self::Foreign(_) => false,
        }
    }

    /// Whether a new hash would be stronger, or the hash is one of another system.
    fn is_weak(&self) -> bool {
        match self {
            Self::Argon2 { function: Argon2Function { algorithm, version, params }, .. } => {
                *algorithm != Algorithm::Argon2id
                    || *version != Version::V0x13
                    || params.m_cost() < COST.0
                    || params.t_cost() < COST.1
            }
            Self::Foreign(_) => true,
        }
    }
}

/// Hashes a password. `None` if the system gives no memory.
pub(super) fn new(password: &str, salt: &[u8], memory: &mut Vec<Block>) -> Option<String> {
    let function = Argon2Function::of_new_hashes()?;
    let output = function.derive(password, salt, memory)?;
    let stored = PasswordHash {
        algorithm: Ident::new("argon2id").ok()?,
        version: Some(function.version.into()),
        params: ParamsString::try_from(&function.params).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(stored.to_string())
}

/// Returns the hash that is used for users who do not exist. It costs the same work and never matches. `None` if the system gives
/// no random bytes.
pub(super) fn dummy() -> Option<Stored> {
    static DUMMY: OnceLock<Option<Stored>> = OnceLock::new();
    let make = || {
        let mut salt = vec![0; 16];
        secret::random(&mut salt).ok()?;
        Some(Stored::Argon2 { function: Argon2Function::of_new_hashes()?, salt, output: vec![0; 32] })
    };
    DUMMY.get_or_init(make).clone()
}

/// Whether a stored hash is weaker than a new one, or one of another system.
pub(super) fn is_weak(hash: &str) -> bool {
    Stored::read(hash).is_some_and(|stored| stored.is_weak())
}

/// Whether a hash of another system can be stored: its format is known, and its cost is not too high.
#[cfg(feature = "cli")]
pub(crate) fn is_acceptable(hash: &str) -> bool {
    Stored::read(hash).is_some()
}
