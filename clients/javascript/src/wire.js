/**
 * The layout of a token, byte by byte (docs/token.md):
 *
 *     base64url( magic 3 | kid 4 | nonce 24 or 12 | ciphertext of (issued_at 6 | payload) | tag 16 )
 */

export const MIN_CHARS = 58;
export const MAX_CHARS = 4096;
export const MAGIC = 3;
export const HEADER = 7;
export const ISSUED_AT = 6;
export const TAG = 16;

/** Base64url without padding. */
export function encode(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Decodes text in its only valid spelling, or returns null. `atob` is lenient, so the result is encoded and compared. */
export function decode(text) {
  let binary;
  try {
    binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return encode(bytes) === text ? bytes : null;
}

/** Concatenates two arrays of bytes. */
export function join(first, second) {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

/** The hexadecimal digits of `bytes`. */
export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
