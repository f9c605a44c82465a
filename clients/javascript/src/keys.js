/** Opens and seals tokens with the derived keys of one purpose and audience. */

import { fromEnv, read } from "./export.js";
import { fromUtf8, parse } from "./payload.js";
import { SUITES } from "./suite.js";
import { HEADER, ISSUED_AT, MAGIC, MAX_CHARS, MIN_CHARS, TAG, decode, encode, hex, join } from "./wire.js";

/** How far the sealer's clock may be ahead of the opener's, in milliseconds. */
const SKEW = 60_000;
/** The most tokens under one AES-256-GCM key. Beyond it, a collision of random nonces is no longer negligible. */
const MAX_UNDER_A = 2 ** 32;
const LETTERS = new Set([...SUITES.values()].map((suite) => `bul${suite.letter}`));
const utf8 = new TextEncoder();

/** The number of tokens that this process has sealed, by kid. A reload does not reset it. */
export const sealed = new Map();

export class Refused extends Error {
  name = "Refused";
  /** For metrics and trace logs only. */
  reason;

  constructor(reason) {
    super("token refused");
    this.reason = reason;
  }
}

export class SealError extends Error {
  name = "SealError";
}

export class Keys {
  /** By kid. */
  #keys = new Map();
  #active;

  /** Reads the JSON form of an export: a string, or UTF-8 bytes. */
  static async parse(text) {
    const { lines, ...said } = read(text);
    const ring = Object.assign(new Keys(), said);
    for (const { kid, state, suite, secret } of lines) {
      ring.#keys.set(kid, { suite, aead: await suite.aead?.(secret) });
      if (state === "active") ring.#active = kid;
    }
    return Object.freeze(ring);
  }

  static async fromEnv(value) {
    return Keys.parse(fromEnv(value));
  }

  async open(token, now = Date.now()) {
    const bytes = unwrap(token);
    const header = bytes.subarray(0, HEADER);
    const kid = hex(header.subarray(MAGIC));
    const key = this.#keys.get(kid);
    if (!key) throw new Refused("unknown_key");
    if (token.slice(0, 4) !== `bul${key.suite.letter}`) throw new Refused("suite");
    const textAt = HEADER + key.suite.nonce;
    if (bytes.length < textAt + ISSUED_AT + TAG) throw new Refused("length");
    if (!key.aead) throw new Refused("unsupported");
    const clear = await key.aead.open(bytes.subarray(HEADER, textAt), bytes.subarray(textAt), header).catch(() => {
      throw new Refused("tag");
    });
    const issuedAt = clear.subarray(0, ISSUED_AT).reduce((number, byte) => number * 256 + byte, 0);
    this.#judgeAge(issuedAt, now);
    try {
      const text = fromUtf8(clear.subarray(ISSUED_AT));
      return { payload: parse(text), text, kid, issuedAt, purpose: this.purpose, audience: this.audience };
    } catch {
      throw new Refused("payload");
    }
  }

  #judgeAge(issuedAt, now) {
    if (issuedAt > now + SKEW) throw new Refused("future");
    // Not `>=`, so that a time that is not a number is refused.
    if (!(now < issuedAt + this.maxAge * 1000)) throw new Refused("expired");
    if (issuedAt < this.notBefore) throw new Refused("not_before");
  }

  async seal(payload, now = Date.now()) {
    const kid = this.#active;
    if (!kid) throw new SealError("there is no active key to seal with");
    const { suite, aead } = this.#keys.get(kid);
    if (!aead) throw new SealError("suite not supported");
    const text = utf8.encode(strict(payload));
    if ((HEADER + suite.nonce + ISSUED_AT + text.length + TAG) * 4 > MAX_CHARS * 3) {
      throw new SealError("the payload is too long: the token would exceed 4096 characters");
    }
    if (!Number.isInteger(now) || now < 0 || now >= 2 ** 48) throw new SealError("the time is out of range");
    if (suite.letter === "A") count(kid);
    const header = join(decode(`bul${suite.letter}`), kid.match(/../g).map((digits) => parseInt(digits, 16)));
    const nonce = crypto.getRandomValues(new Uint8Array(suite.nonce));
    const clear = join(new Uint8Array(ISSUED_AT), text);
    new DataView(clear.buffer).setUint16(0, now / 2 ** 32);
    new DataView(clear.buffer).setUint32(2, now % 2 ** 32);
    return encode(join(join(header, nonce), await aead.seal(nonce, clear, header)));
  }
}

/** Checks length, spelling and magic of a token; returns its bytes. */
function unwrap(token) {
  // Counted in bytes, as in the Rust core. A text with too many characters has too many bytes too.
  const fits = typeof token === "string" && token.length <= MAX_CHARS;
  const length = fits ? utf8.encode(token).length : 0;
  if (length < MIN_CHARS || length > MAX_CHARS) throw new Refused("length");
  const bytes = decode(token);
  if (!bytes) throw new Refused("encoding");
  if (!LETTERS.has(token.slice(0, 4))) throw new Refused("magic");
  return bytes;
}

function strict(payload) {
  try {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    parse(text);
    return text;
  } catch {
    throw new SealError("the payload is not one strict JSON object (RFC 7493, at most 8 levels deep)");
  }
}

function count(kid) {
  const before = sealed.get(kid) ?? 0;
  if (before >= MAX_UNDER_A) {
    throw new SealError("this AES-256-GCM key has sealed 2^32 tokens; roll over with `bulla keys rotate`");
  }
  sealed.set(kid, before + 1);
}
