//! Password hashes of other systems, which `bulla user import` takes over. Each is checked at the user's next login and then
//! replaced by a hash of Bulla's own.
//!
//! | Format | Written by |
//! |---|---|
//! | `$2a$`, `$2b$`, `$2y$` | bcrypt |
//! | `$scrypt$ln=…,r=…,p=…$` | passlib, PHC strings |
//! | `$pbkdf2-sha256$…$`, `$pbkdf2-sha512$…$` | passlib, PHC strings |
//! | `bcrypt$`, `bcrypt_sha256$`, `scrypt$`, `pbkdf2_sha256$` | Django |
//! | `pbkdf2:sha256:…$`, `pbkdf2:sha512:…$`, `scrypt:…$` | Werkzeug |
//! | Base64 of a block that begins with the byte 1 | ASP.NET Core Identity, version 3 |
//!
//! Argon2 is read by `stored_hash`, since Bulla's own hashes have its format.

use base64::{
    Engine as _,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The largest cost parameter of bcrypt: about one second of one core.
const BCRYPT_COST: u32 = 14;
/// The largest number of bytes that bcrypt reads of a password.
const BCRYPT_LONGEST: usize = 72;
/// The largest product of the parameters N, r and p of scrypt: 256 MiB of memory with p = 1, and about one second of one core.
const SCRYPT_COST: u64 = 1 << 21;
/// The largest parameters r and p of scrypt, for each of which it needs further memory.
const SCRYPT_R_P: (u32, u32) = (32, 16);
/// The largest number of rounds of PBKDF2: about one second of one core.
const PBKDF2_ROUNDS: u32 = 2_000_000;
/// The lengths of a hash in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;

/// Base64 as other systems write it: padding may be missing, and unused bits may be set.
const fn lenient(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config.with_decode_padding_mode(DecodePaddingMode::Indifferent))
}

const STANDARD: GeneralPurpose = lenient(&alphabet::STANDARD);
const BCRYPT: GeneralPurpose = lenient(&alphabet::BCRYPT);

/// A hash of another system whose format and cost are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForeignHash {
    function: Function,
    salt: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Bcrypt {
        cost: u32,
        /// The password is the hexadecimal SHA-256 hash of the password.
        hashed_first: bool,
    },
    Scrypt {
        log_n: u8,
        r: u32,
        p: u32,
    },
    Pbkdf2 {
        digest: Digest,
        rounds: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Sha256,
    Sha512,
}

impl Digest {
    fn named(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl ForeignHash {
    /// Reads a hash. `None` if the format is unknown, or if the cost is so high that one login would keep the server busy.
    pub(super) fn read(text: &str) -> Option<Self> {
        let read = match text.split_once(['$', ':'])? {
            ("", rest) => modular(rest),
            ("bcrypt", rest) => modular(rest.strip_prefix('$')?),
            ("bcrypt_sha256", rest) => modular(rest.strip_prefix('$')?).and_then(Self::hashed_first),
            ("scrypt", rest) if text.starts_with("scrypt:") => werkzeug_scrypt(rest),
            ("scrypt", rest) => django_scrypt(rest),
            ("pbkdf2_sha256", rest) => django_pbkdf2(rest),
            ("pbkdf2", rest) => werkzeug_pbkdf2(rest),
            _ => None,
        };
        read.filter(Self::is_acceptable)
    }

    /// Reads a hash of ASP.NET Core Identity: the byte 1, the digest, the rounds and the length of the salt as big-endian 32-bit
    /// numbers, the salt and the hash.
    pub(super) fn read_aspnet(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (head, rest) = bytes.split_first_chunk::<13>()?;
        let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let digest = match (head[0], number(1)?) {
            (1, 1) => Digest::Sha256,
            (1, 2) => Digest::Sha512,
            _ => return None,
        };
        let (salt, output) = rest.split_at_checked(usize::try_from(number(9)?).ok()?)?;
        let read = Self::pbkdf2(digest, number(5)?, salt.to_vec(), output.to_vec());
        read.is_acceptable().then_some(read)
    }

    fn pbkdf2(digest: Digest, rounds: u32, salt: Vec<u8>, output: Vec<u8>) -> Self {
        Self { function: Function::Pbkdf2 { digest, rounds }, salt, output }
    }

    fn hashed_first(mut self) -> Option<Self> {
        let Function::Bcrypt { hashed_first, .. } = &mut self.function else { return None };
        *hashed_first = true;
        Some(self)
    }

    fn is_acceptable(&self) -> bool {
        let is_cheap = match self.function {
            Function::Bcrypt { cost, .. } => (4..=BCRYPT_COST).contains(&cost),
            Function::Scrypt { log_n, r, p } => {
                (1..=SCRYPT_R_P.0).contains(&r)
                    && (1..=SCRYPT_R_P.1).contains(&p)
                    && (1..=21).contains(&log_n)
                    && (1 << log_n) * u64::from(r) * u64::from(p) <= SCRYPT_COST
            }
            Function::Pbkdf2 { rounds, .. } => (1..=PBKDF2_ROUNDS).contains(&rounds),
        };
        is_cheap && LENGTHS.contains(&self.output.len()) && self.salt.len() <= 256
    }

    /// Whether a password has this hash. Compares in constant time.
    pub(super) fn matches(&self, password: &str) -> bool {
        let derived = self.derive(password.as_bytes());
        derived.is_some_and(|derived| bool::from(derived.as_slice().ct_eq(&self.output)))
    }

    /// `None` if the function has no result for the password.
    fn derive(&self, password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self.function {
            Function::Bcrypt { cost, hashed_first: true } => {
                let hex = base16ct::lower::encode_string(&Sha256::digest(password));
                self.bcrypt(cost, Zeroizing::new(hex).as_bytes())
            }
            Function::Bcrypt { cost, hashed_first: false } => self.bcrypt(cost, password),
            Function::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).ok()?;
                let mut output = Zeroizing::new(vec![0; self.output.len()]);
                scrypt::scrypt(password, &self.salt, &params, &mut output).ok()?;
                Some(output)
            }
            Function::Pbkdf2 { digest, rounds } => {
                let mut output = Zeroizing::new(vec![0; self.output.len()]);
                match digest {
                    Digest::Sha256 => {
                        pbkdf2::pbkdf2_hmac::<Sha256>(password, &self.salt, rounds, &mut output);
                    }
                    Digest::Sha512 => {
                        pbkdf2::pbkdf2_hmac::<Sha512>(password, &self.salt, rounds, &mut output);
                    }
                }
                Some(output)
            }
        }
    }

    /// The 23 bytes of bcrypt. A password of more than 72 bytes has none: bcrypt would ignore the rest, so that other passwords with
    /// the same beginning would match.
    fn bcrypt(&self, cost: u32, password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if password.len() > BCRYPT_LONGEST {
            return None;
        }
        // The NUL at the end belongs to the password, if there is room for it.
        let mut terminated = Zeroizing::new([0; BCRYPT_LONGEST]);
        terminated[..password.len()].copy_from_slice(password);
        let length = (password.len() + 1).min(BCRYPT_LONGEST);
        let salt = self.salt.as_slice().try_into().ok()?;
        Some(Zeroizing::new(bcrypt::bcrypt(cost, salt, &terminated[..length])[..23].to_vec()))
    }
}

/// Reads the rest of a text that began with `$`.
fn modular(rest: &str) -> Option<ForeignHash> {
    let (name, rest) = rest.split_once('$')?;
    match name {
        "2a" | "2b" | "2y" => bcrypt_hash(rest),
        "scrypt" => scrypt_phc(rest),
        _ => pbkdf2_phc(name.strip_prefix("pbkdf2-")?, rest),
    }
}

/// `12$` and 53 characters: the salt and the hash.
fn bcrypt_hash(rest: &str) -> Option<ForeignHash> {
    let (cost, rest) = rest.split_once('$')?;
    let (salt, output) = rest.split_at_checked(22).filter(|(_, output)| output.len() == 31)?;
    Some(ForeignHash {
        function: Function::Bcrypt { cost: number(cost)?, hashed_first: false },
        salt: BCRYPT.decode(salt).ok()?,
        output: BCRYPT.decode(output).ok()?,
    })
}

/// `ln=17,r=8,p=1$SALT$HASH`.
fn scrypt_phc(rest: &str) -> Option<ForeignHash> {
    let [params, salt, output] = parts(rest, '$')?;
    let [log_n, r, p] = parts(params, ',')?;
    let function = Function::Scrypt {
        log_n: number(log_n.strip_prefix("ln=")?)?,
        r: number(r.strip_prefix("r=")?)?,
        p: number(p.strip_prefix("p=")?)?,
    };
    Some(ForeignHash { function, salt: adapted(salt)?, output: adapted(output)? })
}

/// `29000$SALT$HASH` of passlib, or `i=29000,l=32$SALT$HASH`.
fn pbkdf2_phc(digest: &str, rest: &str) -> Option<ForeignHash> {
    let [rounds, salt, output] = parts(rest, '$')?;
    let rounds = match rounds.strip_prefix("i=") {
        Some(params) => params.split(',').next()?,
        None => rounds,
    };
    Some(ForeignHash::pbkdf2(Digest::named(digest)?, number(rounds)?, adapted(salt)?, adapted(output)?))
}

/// `N$SALT$r$p$HASH`.
fn django_scrypt(rest: &str) -> Option<ForeignHash> {
    let [n, salt, r, p, output] = parts(rest, '$')?;
    let function = Function::Scrypt { log_n: log_2(n)?, r: number(r)?, p: number(p)? };
    Some(ForeignHash { function, salt: salt.into(), output: STANDARD.decode(output).ok()? })
}

/// `600000$SALT$HASH`.
fn django_pbkdf2(rest: &str) -> Option<ForeignHash> {
    let [rounds, salt, output] = parts(rest, '$')?;
    let output = STANDARD.decode(output).ok()?;
    Some(ForeignHash::pbkdf2(Digest::Sha256, number(rounds)?, salt.into(), output))
}

/// `N:r:p$SALT$HEX`.
fn werkzeug_scrypt(rest: &str) -> Option<ForeignHash> {
    let [params, salt, output] = parts(rest, '$')?;
    let [n, r, p] = parts(params, ':')?;
    let function = Function::Scrypt { log_n: log_2(n)?, r: number(r)?, p: number(p)? };
    Some(ForeignHash { function, salt: salt.into(), output: base16ct::mixed::decode_vec(output).ok()? })
}

/// `sha256:600000$SALT$HEX`.
fn werkzeug_pbkdf2(rest: &str) -> Option<ForeignHash> {
    let [params, salt, output] = parts(rest, '$')?;
    let [digest, rounds] = parts(params, ':')?;
    let output = base16ct::mixed::decode_vec(output).ok()?;
    Some(ForeignHash::pbkdf2(Digest::named(digest)?, number(rounds)?, salt.into(), output))
}

/// Exactly `N` parts.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

/// A number in digits only: `parse` would accept a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn log_2(n: &str) -> Option<u8> {
    let n: u64 = number(n)?;
    n.is_power_of_two().then(|| n.trailing_zeros().try_into().ok()).flatten()
}

/// Base64, in which passlib writes `.` for `+`.
fn adapted(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.replace('.', "+")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "Grüße an Ada";

    /// Hashes of `PASSWORD` by the named programs (Django 5.2, Werkzeug 3.1, passlib 1.7, bcrypt 4.0), and by Python's hashlib in the
    /// layout of ASP.NET Core Identity.
    const VECTORS: [(&str, &str); 13] = [
        ("bcrypt 2b", "$2b$04$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy"),
        ("bcrypt 2a", "$2a$04$oNlLpLZgB0tkT.cfckHzLOooUCuV6Xgr72Wpmsu/m/vKT/u0iCfiy"),
        ("bcrypt 2y", "$2y$04$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy"),
        ("django bcrypt", "bcrypt$$2b$05$w77T4uZ.ZOgsyIAMDjyEvew/feCYhnuZP8ww1VApNapr9DW/LxUIu"),
        (
            "django bcrypt_sha256",
            "bcrypt_sha256$$2b$05$9pnCGBBI6aMDeicl3Trz1OO6fcEp2zuX0FHpq6TzHI6.KSQfDQhom",
        ),
        ("django pbkdf2", "pbkdf2_sha256$1000$seasalt$IcUYreaoPz8VnxXg21dK8/NXVvf1Jg1XhHdlaL5UpAE="),
        (
            "django scrypt",
            "scrypt$256$seasalt$8$5$2rclc/RzOSrexgrh4CePQBzh40KzKeZl3If7OjBpokqAeSQacxvXY4/Nk9Io8TOnnYnuYCSXITVc8Ih4Zo8w1A==",
        ),
        (
            "werkzeug pbkdf2",
            "pbkdf2:sha256:1000$Sy9jk2jrXzYVrM3g$4f103bba9ce3cc8a9563b1206adf2079d4df64e9eb586cf82c501819324f4a6e",
        ),
        (
            "werkzeug scrypt",
            "scrypt:256:8:1$lUnLpSI0hKvTKh7M$9e2f71cf16943c4847db6f749994637eaa7ef82facfb539004b89f0fb0f5f0fa6e37f58175d9a6c44fdb888f699635cce3c9ccf0e40d4a84eb214f0b7783da2a",
        ),
        (
            "passlib pbkdf2",
            "$pbkdf2-sha256$1000$gTDm/N8bA8B4z9mb8z4nhA$SxJzsUfFsuKc3yiepaKaRn4Ctw21aXq4mBrf/sWfelA",
        ),
        (
            "passlib pbkdf2 with SHA-512",
            "$pbkdf2-sha512$1000$w1jrXWtNCUFoTckZg7B2bg$jDSlHUjjYEnoPkxsjzPq9.flLXddk6CuLOhPoI/.fEIdbdAaS9T4DKouO3u.qGaIj2LAx59hUtgm6noH/jXexA",
        ),
        (
            "passlib scrypt",
            "$scrypt$ln=8,r=8,p=1$AIAw5tzbW6uVUsq5t1Yq5Q$xkTkJ2QrH7n0Q5nM1MCGVM20hD0FyDmC0rf0HHLeWDc",
        ),
        (
            "pbkdf2 as a PHC string",
            "$pbkdf2-sha256$i=1000,l=32$gTDm/N8bA8B4z9mb8z4nhA$SxJzsUfFsuKc3yiepaKaRn4Ctw21aXq4mBrf/sWfelA",
        ),
    ];
    const ASPNET: [&str; 2] = [
        "AQAAAAIAAAPoAAAAED393kvHrSq8SoYl5V5R9p8tncC+lDu8XGop8yZAj9W8BSvO23y3kiNsBt2mMlqv4Q==",
        "AQAAAAEAAAPoAAAAED393kvHrSq8SoYl5V5R9p/NodUnm5PG6eYeOjdzSqXqLGkc3H/XLg1I231L/3LfsA==",
    ];

    #[test]
    fn hashes_of_other_programs_match_their_password_only() {
        let read = VECTORS.map(|(name, text)| (name, ForeignHash::read(text)));
        let aspnet = ASPNET.map(|text| ("ASP.NET", ForeignHash::read_aspnet(text)));
        for (name, hash) in read.into_iter().chain(aspnet) {
            let hash = hash.unwrap_or_else(|| panic!("{name} is not read"));
            assert!(hash.matches(PASSWORD), "{name}");
            assert!(!hash.matches("Grüße an Eva") && !hash.matches(""), "{name}");
        }
    }

    #[test]
    fn bcrypt_matches_no_password_that_it_would_cut_off() {
        let hash = "$2b$04$idx2sywNPVgBK91mCKftuOenWd6B5darmI4hUsyLWi6MePtlAe66u";
        let hash = ForeignHash::read(hash).unwrap();
        assert!(hash.matches(&"x".repeat(72)));
        assert!(!hash.matches(&"x".repeat(73)) && !hash.matches(&"x".repeat(71)));
    }

    #[test]
    fn a_cost_beyond_the_bounds_is_refused() {
        let salt_and_hash = "Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy";
        let output = "SxJzsUfFsuKc3yiepaKaRn4Ctw21aXq4mBrf/sWfelA";
        for (text, accepted) in [
            (format!("$2b$14${salt_and_hash}"), true),
            (format!("$2b$15${salt_and_hash}"), false),
            (format!("$2b$03${salt_and_hash}"), false),
            (format!("$pbkdf2-sha256$2000000$c2FsdA${output}"), true),
            (format!("$pbkdf2-sha256$2000001$c2FsdA${output}"), false),
            (format!("$pbkdf2-sha256$0$c2FsdA${output}"), false),
            (format!("$scrypt$ln=18,r=8,p=1$c2FsdA${output}"), true),
            (format!("$scrypt$ln=19,r=8,p=1$c2FsdA${output}"), false),
            (format!("$scrypt$ln=18,r=8,p=2$c2FsdA${output}"), false),
            (format!("$scrypt$ln=10,r=8,p=16$c2FsdA${output}"), true),
            (format!("$scrypt$ln=10,r=8,p=17$c2FsdA${output}"), false),
            (format!("$scrypt$ln=1,r=32,p=1$c2FsdA${output}"), true),
            (format!("$scrypt$ln=1,r=33,p=1$c2FsdA${output}"), false),
            (format!("$scrypt$ln=10,r=4294967295,p=1$c2FsdA${output}"), false),
            (format!("$scrypt$ln=255,r=8,p=1$c2FsdA${output}"), false),
            (format!("$scrypt$ln=0,r=8,p=1$c2FsdA${output}"), false),
        ] {
            assert_eq!(ForeignHash::read(&text).is_some(), accepted, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_hashes() {
        let long = format!("$pbkdf2-sha256$1000$c2FsdA${}", "A".repeat(200));
        for text in [
            "",
            "$",
            "$$",
            "plain text",
            "$2x$04$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy",
            "$2b$04$Y.Bf4dOjFcva9Us",
            "$2b$+4$Y.Bf4dOjFcva9Us/UDBHXOrpzJztKOdQJj3Y7zjvLzoHqIMUk4diy",
            "$2b$04$Y.Bf4dOjFcva9Us/UDBHXäOrpzJztKOdQJj3Y7zjvLzoHqIMUk4di",
            "$6$rounds=5000$salt$hash",
            "$pbkdf2-md5$1000$c2FsdA$SxJzsUfFsuKc3yiepaKaRn4Ctw21aXq4mBrf/sWfelA",
            "$pbkdf2-sha256$1000$c2FsdA$c2hvcnQ",
            &long,
            "scrypt:255:8:1$salt$00",
            "bcrypt_sha256$$pbkdf2-sha256$1000$c2FsdA$SxJzsUfFsuKc3yiepaKaRn4Ctw21aXq4mBrf/sWfelA",
        ] {
            assert_eq!(ForeignHash::read(text), None, "{text}");
            assert_eq!(ForeignHash::read_aspnet(text), None, "{text}");
        }
    }
}
