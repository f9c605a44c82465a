//! Tests that four implementations open and refuse the same tokens: the core and the clients in Python, JavaScript and Go.
//!
//! Each implementation is run by its own command.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use bulla::internals::{
    clock::{Clock as _, SystemClock},
    ids::{Audience, Purpose},
    keyring::{KeyDirectory, Ring, Suite},
    token::{KeyExport, KeyFile, OpenBuffer, Refused, SealCounts, TokenKeys},
};

const SUITES: [Suite; 2] = [Suite::Xaes256Gcm, Suite::Aes256Gcm];
const PAYLOAD: &str = r#"{"id":"42","name":"Ада 😀","n":[9007199254740993,-0.5e+3,true,null]}"#;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The source of an opener's keys.
#[derive(Clone, Copy)]
enum Keys<'a> {
    File(&'a Path),
    Variable(&'a str),
}

/// One of the four implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    Rust,
    Python,
    JavaScript,
    Go,
}

impl Opener {
    /// The openers whose language is installed; with `CI=true` every language must be.
    fn all() -> Vec<Self> {
        let all = [Self::Rust, Self::Python, Self::JavaScript, Self::Go];
        all.into_iter().filter(|opener| *opener == Self::Rust || opener.command().is_some()).collect()
    }

    /// The program and its first arguments.
    fn command(self) -> Option<&'static [PathBuf]> {
        static PYTHON: LazyLock<Option<Vec<PathBuf>>> = LazyLock::new(|| {
            let installed = target().join("clients/python/bin/python");
            let python = if installed.exists() { installed } else { "python3".into() };
            let command = [python, "-m".into(), "bulla_sessions".into()];
            let mut imports = Command::new(&command[0]);
            there("python3 with cryptography", imports.args(["-c", "import cryptography"]))
                .then(|| command.into())
        });
        static NODE: LazyLock<Option<Vec<PathBuf>>> = LazyLock::new(|| {
            let main = clients().join("javascript/src/main.js");
            there("node", Command::new("node").arg("--version")).then(|| vec!["node".into(), main])
        });
        static GO: LazyLock<Option<Vec<PathBuf>>> = LazyLock::new(|| {
            let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bulla-token");
            let mut build = Command::new("go");
            build
                .args(["build", "-o"])
                .arg(&program)
                .arg("./cmd/bulla-token")
                .current_dir(clients().join("go"));
            there("go", &mut build).then(|| vec![program])
        });
        match self {
            Self::Rust => None,
            Self::Python => PYTHON.as_deref(),
            Self::JavaScript => NODE.as_deref(),
            Self::Go => GO.as_deref(),
        }
    }

    /// Opens tokens, one per line; returns the payloads, or `refused: ` and the reason.
    fn open(self, keys: Keys<'_>, tokens: &[String]) -> Vec<String> {
        if self != Self::Rust {
            return self.filter("open", keys, &tokens.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
        let (now, mut buffer) = (SystemClock.now(), OpenBuffer::new());
        let said = |opened: Result<bulla::internals::token::Opened<&str>, Refused>| match opened {
            Ok(opened) => opened.payload.to_owned(),
            Err(refused) => format!("refused: {}", refused.reason()),
        };
        match keys {
            Keys::File(path) => {
                let file = KeyFile::new(path).unwrap();
                tokens.iter().map(|token| said(file.open_at(token, now, &mut buffer))).collect()
            }
            Keys::Variable(value) => {
                let export = KeyExport::from_env(value).unwrap();
                let (keys, age) = (export.keys(), export.max_age());
                tokens.iter().map(|token| said(keys.open_at(token, now, age, &mut buffer))).collect()
            }
        }
    }

    /// Seals payloads, one per line; returns the tokens, or a text that begins with `refused: `.
    fn seal(self, keys: &Path, payloads: &[&[u8]]) -> Vec<String> {
        if self != Self::Rust {
            return self.filter("seal", Keys::File(keys), payloads);
        }
        let (file, now) = (KeyFile::new(keys).unwrap(), SystemClock.now());
        let sealed = payloads.iter().map(|payload| {
            let token = std::str::from_utf8(payload).ok().and_then(|text| file.seal_at(text, now).ok());
            token.map_or("refused: payload".into(), |token| token.into_string())
        });
        sealed.collect()
    }

    fn filter(self, verb: &str, keys: Keys<'_>, lines: &[&[u8]]) -> Vec<String> {
        let (program, arguments) = self.command().unwrap().split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(verb).env_remove(KeyExport::VARIABLE);
        command.env("PYTHONPATH", clients().join("python/src")).env("PYTHONDONTWRITEBYTECODE", "1");
        match keys {
            Keys::File(path) => command.arg(path),
            Keys::Variable(value) => command.env(KeyExport::VARIABLE, value),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut input) = (child.stdin.take().unwrap(), lines.join(&b'\n'));
        input.push(b'\n');
        let writing = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said: Vec<String> = text.lines().map(str::to_owned).collect();
        let refused = said.iter().any(|line| line.starts_with("refused: "));
        assert_eq!(output.status.code(), Some(if refused { 4 } else { 0 }), "{self:?}");
        assert_eq!(said.len(), lines.len(), "{self:?} answers each line");
        said
    }
}

/// Whether a command runs. A missing command is reported and skipped; with `CI=true` that is a failure.
fn there(name: &str, command: &mut Command) -> bool {
    let output = command.stdin(Stdio::null()).output();
    if output.as_ref().is_ok_and(|output| output.status.success()) {
        return true;
    }
    let why = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is missing: {why:?}");
    eprintln!("skipped: {name} is missing (scripts/test installs it): {why:?}");
    false
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A key ring, and exports of it that the real command makes.
struct Home(tempfile::TempDir);

impl Home {
    fn new(suite: Suite) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        KeyDirectory::new(home.0.path().join("keys")).init_at(suite, SystemClock.now()).unwrap();
        home
    }

    fn ring(&self) -> Ring {
        KeyDirectory::new(self.0.path().join("keys")).load().unwrap()
    }

    fn keys(&self, purpose: &str, audience: &str) -> TokenKeys {
        let (purpose, audience) = (Purpose::new(purpose).unwrap(), Audience::new(audience).unwrap());
        TokenKeys::derive_counted(&self.ring(), &purpose, &audience, &SealCounts::default())
    }

    fn export(&self, format: &str, name: &str) -> PathBuf {
        let arguments = ["keys", "export", "--audience", "billing", "--format", format, "--out", name];
        let output =
            Command::new(env!("CARGO_BIN_EXE_bulla")).args(arguments).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.0.path().join(name)
    }
}

#[test]
fn a_token_sealed_by_any_implementation_opens_in_all() {
    for suite in SUITES {
        let home = Home::new(suite);
        let file = home.export("json", "billing.json");
        let openers = Opener::all();
        let tokens: Vec<String> =
            openers.iter().flat_map(|sealer| sealer.seal(&file, &[PAYLOAD.as_bytes()])).collect();
        for opener in &openers {
            for (sealer, said) in openers.iter().zip(opener.open(Keys::File(&file), &tokens)) {
                assert_eq!(said, PAYLOAD, "{opener:?} opens what {sealer:?} seals under {suite:?}");
            }
        }
        println!("{suite:?}: {n} x {n}", n = openers.len());
    }
}

/// Changes every character of a token of every language: each of its six bits, and characters outside the alphabet. No language
/// opens any of these tokens, and all give the same reason.
#[test]
fn a_token_with_one_changed_byte_opens_in_no_implementation() {
    for suite in SUITES {
        let home = Home::new(suite);
        let file = home.export("json", "billing.json");
        let openers = Opener::all();
        let mut mutated = Vec::new();
        for token in openers.iter().flat_map(|sealer| sealer.seal(&file, &[br#"{"id":"42"}"#])) {
            for (at, letter) in token.bytes().enumerate() {
                let place = ALPHABET.iter().position(|other| *other == letter).unwrap();
                let others = (0..6).map(|bit| char::from(ALPHABET[place ^ 1 << bit]));
                for other in others.chain(['=', '+', '/', '.', ' ', '\r', '\0', 'é']) {
                    mutated.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
                }
            }
        }
        assert!(mutated.len() >= openers.len() * 70 * 14, "{}", mutated.len());
        let reasons = Opener::Rust.open(Keys::File(&file), &mutated);
        for opener in openers {
            let said = opener.open(Keys::File(&file), &mutated);
            for ((token, said), reason) in mutated.iter().zip(said).zip(&reasons) {
                assert!(said.starts_with("refused: "), "{opener:?} opens {token}: {said}");
                assert_eq!(&said, reason, "{opener:?} {token}");
            }
        }
    }
}

#[test]
fn keys_of_one_audience_open_and_seal_for_no_other() {
    const OTHERS: [(&str, &str); 5] =
        [("access", "shop"), ("access", ""), ("refresh", ""), ("refresh", "billing"), ("service", "billing")];
    let (now, age) = (SystemClock.now(), Duration::from_secs(120));
    let claim = br#"{"id":"1","roles":["admin"]}"#;
    for suite in SUITES {
        let home = Home::new(suite);
        let file = home.export("json", "billing.json");
        let seal =
            |purpose, audience| home.keys(purpose, audience).seal_at(PAYLOAD, now).unwrap().into_string();
        let mut tokens = vec![seal("access", "billing")];
        tokens.extend(OTHERS.map(|(purpose, audience)| seal(purpose, audience)));
        for opener in Opener::all() {
            let said = opener.open(Keys::File(&file), &tokens);
            assert_eq!(said[0], PAYLOAD, "{opener:?}");
            assert!(said[1..].iter().all(|said| said == "refused: tag"), "{opener:?}: {said:?}");

            // The holder of a key file seals a token, with the names in the file unchanged and then changed. Neither token opens
            // under other keys.
            let own = opener.seal(&file, &[claim]).remove(0);
            for (purpose, audience) in OTHERS {
                let mut export: serde_json::Value =
                    serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
                export["purpose"] = purpose.into();
                export["audience"] = audience.into();
                let renamed = home.0.path().join("renamed.json");
                fs::write(&renamed, export.to_string()).unwrap();
                for token in [&own, &opener.seal(&renamed, &[claim]).remove(0)] {
                    let keys = home.keys(purpose, audience);
                    let refused = keys.open_at(token, now, age, &mut OpenBuffer::new()).map(drop);
                    assert_eq!(refused, Err(Refused::Tag), "{opener:?} forges for {purpose} {audience}");
                }
            }
        }
    }
}

#[test]
fn all_implementations_read_the_key_export_from_an_environment_variable() {
    let home = Home::new(Suite::Xaes256Gcm);
    let line = fs::read_to_string(home.export("env", "billing.env")).unwrap();
    let value = line.trim_end().strip_prefix("BULLA_EXPORT=").unwrap();
    let token = home.keys("access", "billing").seal_at(PAYLOAD, SystemClock.now()).unwrap().into_string();
    for opener in Opener::all() {
        assert_eq!(opener.open(Keys::Variable(value), std::slice::from_ref(&token)), [PAYLOAD], "{opener:?}");
    }
}

/// Payloads that are changed at random places: all four implementations agree on which of them are strict JSON.
#[test]
fn all_implementations_accept_the_same_strict_json() {
    const SEEDS: [&str; 6] = [
        PAYLOAD,
        r#"{"a":{"b":[1,{"c":"\ud83d\ude00\u0041\n"}]},"\u0061b":1,"ab2":-0.0e1}"#,
        r#"{"a":[[[[[[[1]]]]]]],"b":[[[[[[[]]]]]]],"":{"":{"":""}}}"#,
        r#"{"\"":1,"\\":2,"\/":3,"//":4,"\b\f\r\t":5,"__proto__":{"constructor":6}}"#,
        "{\"\u{fdcf}\":\"\u{fffd}\u{10fffd}\",\"x\":\"\\ufdcf\\uffef\\udbff\\udffd\"}",
        " {\t\"a\" : [ 1 , 2.5E-7 , \"x\" , { } , [ ] ] , \"A\" : false }\r",
    ];
    const BITS: [&[u8]; 40] = [
        b"\"",
        b"\\",
        b"\\\"",
        b"\\u",
        b"\\ud800",
        b"\\udc00",
        b"\\ud83d\\ude00",
        b"\\ufffe",
        b"\\ufdd0",
        b"\\u0061",
        b"u",
        b"d",
        b"a",
        b"0",
        b"00",
        b"1",
        b"-",
        b"+",
        b".",
        b"e",
        b"E9",
        b"1e999",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[[",
        b":",
        b",",
        b" ",
        b"\r",
        b"\t",
        b"\0",
        b"\x7f",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbf",
        b"\xef\xbb\xbf",
        b"NaN",
        b"null",
    ];
    // A repeatable sequence of random numbers: a linear congruential generator (Knuth's MMIX).
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut payloads: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    for _ in 0..4000 {
        let mut bent = SEEDS[below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=below(2) {
            let (at, cut) = (below(bent.len()), below(3));
            let end = bent.len().min(at + cut);
            let bit = BITS[below(BITS.len())];
            bent.splice(at..end, if cut == 2 && bit.len() == 1 { vec![] } else { bit.to_vec() });
        }
        payloads.push(bent);
    }
    let lines: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let home = Home::new(Suite::Xaes256Gcm);
    let file = home.export("json", "billing.json");
    let taken = |opener: Opener| -> Vec<bool> {
        opener.seal(&file, &lines).iter().map(|said| !said.starts_with("refused: ")).collect()
    };
    let core = taken(Opener::Rust);
    let good = core.iter().filter(|taken| **taken).count();
    println!("{} payloads, {good} of them strict", lines.len());
    assert!(core[..SEEDS.len()].iter().all(|taken| *taken) && (400..3600).contains(&good), "{good}");
    for opener in Opener::all() {
        for ((payload, said), core) in lines.iter().zip(taken(opener)).zip(&core) {
            assert_eq!(said, *core, "{opener:?}: {:?}", String::from_utf8_lossy(payload));
        }
    }
}

/// A key of the JSON Web Key Set, imported with WebCrypto, opens a token of suite A.
#[test]
fn webcrypto_imports_the_exported_jwk_set() {
    const OPEN: &str = r#"
        const [set, token] = process.argv.slice(1).map((text, i) => i ? Buffer.from(text, "base64url") : JSON.parse(text));
        const { subtle } = require("node:crypto").webcrypto;
        (async () => {
          const jwk = set.keys.find((key) => key.kid === token.toString("hex", 3, 7));
          const key = await subtle.importKey("jwk", jwk, "AES-GCM", false, jwk.key_ops);
          const parameters = { name: "AES-GCM", iv: token.subarray(7, 19), additionalData: token.subarray(0, 7) };
          const clear = await subtle.decrypt(parameters, key, token.subarray(19));
          console.log(jwk.key_ops.join() + " " + Buffer.from(clear).toString("utf8", 6));
        })();
    "#;
    if Opener::JavaScript.command().is_none() {
        return;
    }
    let home = Home::new(Suite::Aes256Gcm);
    let set = fs::read_to_string(home.export("jwk", "billing.jwks")).unwrap();
    let token = home.keys("access", "billing").seal_at(PAYLOAD, SystemClock.now()).unwrap().into_string();
    let output = Command::new("node").args(["-e", OPEN, set.trim_end(), &token]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("encrypt,decrypt {PAYLOAD}\n"), "{}", String::from_utf8_lossy(&output.stderr));
}
