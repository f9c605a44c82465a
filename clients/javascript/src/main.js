#!/usr/bin/env node
/**
 * Opens or seals one token or payload per line of its input: `bulla-token open [KEYS]` and `bulla-token seal [KEYS]`.
 *
 * KEYS is an export file. Without it, the keys come from the variable BULLA_EXPORT. The exit code is 4 if any line was
 * refused.
 */

import { KeyFile, Keys, Refused, SealError } from "./node.js";
import { fromUtf8 } from "./payload.js";

const [command, file, ...more] = process.argv.slice(2);
if (!["open", "seal"].includes(command) || more.length) {
  console.error("usage: bulla-token open|seal [KEYS] < lines");
  process.exit(2);
}
try {
  const keys = await (file === undefined ? Keys.fromEnv(process.env.BULLA_EXPORT) : KeyFile.read(file));
  for await (const line of lines(process.stdin)) {
    console.log(await say(keys, line));
  }
} catch (error) {
  console.error(`bulla-token: ${error.message}`);
  process.exitCode = 1;
}

/** `line` is a Buffer. */
async function say(keys, line) {
  try {
    return command === "open" ? (await keys.open(line.toString("latin1"))).text : await keys.seal(payload(line));
  } catch (error) {
    if (!(error instanceof Refused || error instanceof SealError)) throw error;
    process.exitCode = 4;
    return `refused: ${error.reason ?? error.message}`;
  }
}

function payload(line) {
  try {
    return fromUtf8(line);
  } catch {
    throw new SealError("the payload is not UTF-8");
  }
}

/** Splits at LF only, so that a token with a CR is refused and not repaired. */
async function* lines(input) {
  let rest = Buffer.alloc(0);
  for await (const part of input) {
    rest = Buffer.concat([rest, part]);
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end + 1);
    }
  }
  if (rest.length) yield rest;
}
