// The keys of a test ring.

import { encode } from "../src/wire.js";

export const NOW = 1_700_000_000_000;

export function key(number, state = "active", suite = "xaes-256-gcm") {
  const kid = number.toString(16).padStart(8, "0");
  return { kid, state, suite, key: encode(new Uint8Array(32).fill(number)) };
}

export function ring(keys, changed = {}) {
  const fields = { version: 1, purpose: "access", audience: "billing", max_age: 120, not_before: 0 };
  return JSON.stringify({ ...fields, keys, ...changed });
}
