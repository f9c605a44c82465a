// Runs every case of tests/vectors; the README there describes their format.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { Keys, Refused } from "../src/node.js";

const folder = new URL("../../../tests/vectors/", import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
const vectors = names.map((name) => JSON.parse(readFileSync(new URL(name, folder), "utf8")));
// The results of checks before the cipher; they apply also to XChaCha20-Poly1305, which is unsupported here.
const BEFORE = ["length", "encoding", "magic", "unknown_key", "suite"];

function expected({ token, payload, refused }) {
  const unsupported = token.startsWith("bulC") && !BEFORE.includes(refused);
  return unsupported ? { refused: "unsupported" } : refused === undefined ? { payload } : { refused };
}

async function said({ export: file, token, now }) {
  const keys = await Keys.parse(JSON.stringify(file));
  try {
    const { text, payload } = await keys.open(token, now);
    assert.deepEqual(payload, JSON.parse(text));
    return { payload: text };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    assert.equal(error.message, "token refused");
    return { refused: error.reason };
  }
}

test("every vector opens or is refused for the reason it says", async () => {
  for (const vector of vectors) assert.deepEqual(await said(vector), expected(vector), vector.name);
});

test("the vectors are all there", (context) => {
  const begin = (letter) => vectors.filter(({ name }) => name.startsWith(`${letter}-`)).length;
  const supported = vectors.filter((vector) => expected(vector).refused !== "unsupported").length;
  context.diagnostic(`${vectors.length} vectors, ${supported} of them judged in full`);
  assert.ok(vectors.length >= 320 && supported >= 500);
  assert.ok(Math.min(begin("x"), begin("a"), begin("c")) >= 60);
});
