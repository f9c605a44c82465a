#!/usr/bin/env node
/**
 * `bulla-token open [KEYS]` and `bulla-token seal [KEYS]`: filters, one token or payload a line.
 *
 * Without KEYS, a file, the keys come from the variable BULLA_KEYS. Exit code 4 if anything was refused.
 */

import { KeyFile, Keys, Refused, SealError } from "./node.js";

const [command, file, ...more] = process.argv.slice(2);
if (!["open", "seal"].includes(command) || more.length) {
  console.error("usage: bulla-token open|seal [KEYS] < lines");
  process.exit(2);
}
try {
  const keys = await (file === undefined ? Keys.fromEnv(process.env.BULLA_KEYS) : KeyFile.read(file));
  for await (const line of lines(process.stdin)) {
    console.log(await say(keys, line));
  }
} catch (error) {
  console.error(`bulla-token: ${error.message}`);
  process.exitCode = 1;
}

async function say(keys, line) {
  try {
    return command === "open" ? (await keys.open(line)).text : await keys.seal(line);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof SealError)) throw error;
    process.exitCode = 4;
    return `refused: ${error.reason ?? error.message}`;
  }
}

/** Split at LF alone: a token with a CR in it is to be refused, not mended. */
async function* lines(input) {
  let rest = "";
  for await (const part of input.setEncoding("utf8")) {
    const whole = (rest + part).split("\n");
    rest = whole.pop();
    yield* whole;
  }
  if (rest) yield rest;
}
