/** Reads the output of `bulla keys export` strictly. */

import { fromUtf8, parse } from "./payload.js";
import { SUITES } from "./suite.js";
import { decode } from "./wire.js";

const FILE = ["version", "purpose", "audience", "max_age", "not_before", "keys"];
const LINE = ["kid", "state", "suite", "key"];

export class BadExport extends Error {
  name = "BadExport";

  constructor(rule) {
    super(`not a key export: ${rule}`);
  }
}

/** Reads the JSON form: no unknown field, no duplicate kid, at most one active key, no revoked key. */
export function read(text) {
  const { version, purpose, audience, max_age, not_before, keys } = fields(json(text), FILE);
  must(version === 1, "its version is not 1");
  must(matches(purpose, /^[a-z][a-z0-9-]{0,31}$/), "its purpose is not a valid purpose");
  must(matches(audience, /^([a-z0-9][a-z0-9.-]{0,63})?$/), "its audience is not a valid audience");
  must(Number.isInteger(max_age) && max_age >= 0 && max_age <= 2 ** 64, "its max_age is not a number of seconds");
  must(Number.isInteger(not_before), "its not_before is not a time");
  must(Array.isArray(keys), "its keys are not a list");
  const lines = keys.map(line);
  must(new Set(lines.map(({ kid }) => kid)).size === lines.length, "a kid is listed twice");
  must(lines.filter(({ state }) => state === "active").length <= 1, "more than one key is active");
  return { purpose, audience, maxAge: max_age, notBefore: not_before, lines };
}

/** Decodes the value of the variable that `bulla keys export --format env` sets: the JSON form in base64url. */
export function fromEnv(value) {
  const text = typeof value === "string" ? decode(value) : null;
  must(text?.length, "the variable is not set, or not base64url");
  return text;
}

function line(value) {
  const { kid, state, suite, key } = fields(value, LINE);
  must(matches(kid, /^[0-9a-f]{8}$/), "a kid is not 8 lower-case hex digits");
  must(matches(state, /^(staged|active|retired)$/), "a key is neither staged nor active nor retired");
  must(SUITES.has(suite), "a suite is unknown");
  const secret = matches(key, /^.{43}$/) ? decode(key) : null;
  must(secret, "a key is not 43 characters of base64url");
  return { kid, state, suite: SUITES.get(suite), secret };
}

/** `text` is a string, or UTF-8 bytes. */
function json(text) {
  try {
    return parse(typeof text === "string" ? text : fromUtf8(text));
  } catch (error) {
    throw new BadExport(`it is not strict JSON, ${error.message}`);
  }
}

function fields(value, names) {
  const same = typeof value === "object" && value !== null && Object.keys(value).length === names.length;
  must(same && names.every((name) => Object.hasOwn(value, name)), "a field is missing or unknown");
  return value;
}

function matches(value, pattern) {
  return typeof value === "string" && pattern.test(value);
}

function must(holds, rule) {
  if (!holds) throw new BadExport(rule);
}
