/** The content of a verified token. */
export interface Opened {
  /** Numbers beyond the precision of a double are rounded; `text` has them exactly. */
  payload: Record<string, unknown>;
  /** The payload as it was sealed. */
  text: string;
  kid: string;
  /** When it was sealed, Unix milliseconds. */
  issuedAt: number;
  /** The purpose of the export that opened the token: `access` is a person's token, `service` a machine's token. */
  purpose: string;
  /** The audience of that export. */
  audience: string;
}

/** Opens tokens. `Keys`, `Openers` and, in Node, `KeyFile` implement it. */
export interface Opener {
  /** The purpose of the (first) export. */
  readonly purpose: string;
  /** Opens a token, or rejects with `Refused`. `now` is in Unix milliseconds; by default the system's time. */
  open(token: string, now?: number): Promise<Opened>;
}

/** Seals tokens. `Keys` and, in Node, `KeyFile` implement it. */
export interface Sealer {
  /**
   * Seals an object, or the text of one, under the active key; rejects with `SealError`. The nonce is new, from the
   * system's random generator.
   */
  seal(payload: object | string, now?: number): Promise<string>;
}

/**
 * The keys of an export: derived keys, the maximum age of a token, and the time before which no token is valid.
 * Immutable. A holder of the keys can open and forge tokens of this purpose and audience, and no other tokens.
 */
export class Keys implements Opener, Sealer {
  private constructor();
  /** Reads the JSON form (a string, or UTF-8 bytes); rejects with `BadExport`. */
  static parse(text: string | Uint8Array): Promise<Keys>;
  /** Reads the value of the variable `BULLA_EXPORT` that `bulla keys export --format env` sets. */
  static fromEnv(value: string | undefined): Promise<Keys>;
  readonly purpose: string;
  readonly audience: string;
  /** The maximum age of a token, in seconds. */
  readonly maxAge: number;
  /** No token that was sealed before this time is valid. Unix milliseconds. */
  readonly notBefore: number;
  open(token: string, now?: number): Promise<Opened>;
  seal(payload: object | string, now?: number): Promise<string>;
}

/**
 * Combines several exports into one opener, such as one for people and one for machines. The first export whose key
 * verifies a token opens it. If none does, the reason is that of the export that got furthest in its checks.
 */
export class Openers implements Opener {
  constructor(first: Opener, ...others: Opener[]);
  readonly purpose: string;
  open(token: string, now?: number): Promise<Opened>;
}

/**
 * The reason why a token was refused. `purpose`: the token is valid, but the caller does not admit its purpose, for
 * example a machine's token if only people are admitted.
 */
export type Reason =
  | "length" | "encoding" | "magic" | "unknown_key" | "suite" | "unsupported" | "tag" | "future" | "expired" | "not_before"
  | "payload" | "purpose" | "missing";

/** A token was refused. The `message` is the same for every reason. */
export class Refused extends Error {
  constructor(reason: Reason);
  /** For metrics and trace logs only. */
  readonly reason: Reason;
}

/** The payload was not sealed; `message` gives the reason. */
export class SealError extends Error {}

/** The input is not an output of `bulla keys export`. The message names the violated rule, never a key. */
export class BadExport extends Error {}
