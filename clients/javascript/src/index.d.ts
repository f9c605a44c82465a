/** What a verified token says. */
export interface Opened {
  /** Numbers beyond a double's precision are rounded; `text` has them to the letter. */
  payload: Record<string, unknown>;
  /** The payload as it was sealed. */
  text: string;
  kid: string;
  /** When it was sealed, Unix milliseconds. */
  issuedAt: number;
  /** The purpose of the export that opened it: `access` is a person's token, `service` a machine's. */
  purpose: string;
  /** The audience of that export. */
  audience: string;
}

/** Opens tokens: `Keys`, `Openers`, or in Node a `KeyFile`. */
export interface Opener {
  /** The purpose of the (first) export. */
  readonly purpose: string;
  /** Opens a token, or rejects with `Refused`. `now` is in Unix milliseconds; the system's clock without it. */
  open(token: string, now?: number): Promise<Opened>;
}

/** Seals tokens: `Keys`, or in Node a `KeyFile`. */
export interface Sealer {
  /**
   * Seals an object, or the text of one, under the active key; rejects with `SealError`. The nonce is fresh from the
   * system's generator.
   */
  seal(payload: object | string, now?: number): Promise<string>;
}

/**
 * An export: derived keys, how old a token may be, and the time before which none counts. Immutable. Who holds them
 * can open, and forge, tokens of this purpose and audience and nothing else.
 */
export class Keys implements Opener, Sealer {
  private constructor();
  /** Reads the JSON form (text, or bytes of UTF-8); rejects with `BadExport`. */
  static parse(text: string | Uint8Array): Promise<Keys>;
  /** Reads what `bulla keys export --format env` puts into the variable `BULLA_EXPORT`. */
  static fromEnv(value: string | undefined): Promise<Keys>;
  readonly purpose: string;
  readonly audience: string;
  /** Seconds. */
  readonly maxAge: number;
  /** Unix milliseconds. */
  readonly notBefore: number;
  open(token: string, now?: number): Promise<Opened>;
  seal(payload: object | string, now?: number): Promise<string>;
}

/**
 * Several exports behind one opener, such as one for people and one for machines. The first export whose key verifies a
 * token opens it. Where none does, the reason is that of the export that came furthest.
 */
export class Openers implements Opener {
  constructor(first: Opener, ...others: Opener[]);
  readonly purpose: string;
  open(token: string, now?: number): Promise<Opened>;
}

/**
 * Why a token was refused. `purpose`: it is good, but for another purpose than the caller admits, such as a machine's token
 * where people are admitted.
 */
export type Reason =
  | "length" | "encoding" | "magic" | "unknown_key" | "suite" | "unsupported" | "tag" | "future" | "expired" | "not_before"
  | "payload" | "purpose" | "missing";

/** A token was refused; `message` says one thing for all. */
export class Refused extends Error {
  constructor(reason: Reason);
  /** For metrics and trace logs only. */
  readonly reason: Reason;
}

/** Nothing was sealed; `message` says why. */
export class SealError extends Error {}

/** Not what `bulla keys export` prints; names the rule, never a key. */
export class BadExport extends Error {}
