// Tests sealing, the age of tokens, and inputs that are not exports.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { BadExport, Keys, Refused, SealError } from "../src/node.js";
import { sealed } from "../src/keys.js";
import { encode } from "../src/wire.js";
import { NOW, key, ring } from "./ring.js";

const SUITES = ["xaes-256-gcm", "aes-256-gcm"];
const one = (suite, changed) => Keys.parse(ring([key(1, "active", suite)], changed));

async function reason(keys, token, now = NOW) {
  const error = await keys.open(token, now).then(() => assert.fail("it opened"), (error) => error);
  assert.ok(error instanceof Refused, error);
  return error.reason;
}

test("what was sealed opens until it is too old", async () => {
  for (const suite of SUITES) {
    const keys = await one(suite);
    const token = await keys.seal({ id: "42", name: "é" }, NOW);
    for (const now of [NOW, NOW - 60_000, NOW + 119_999]) {
      const payload = { id: "42", name: "é" };
      const opened = { payload, text: '{"id":"42","name":"é"}', kid: "00000001", issuedAt: NOW, purpose: "access", audience: "billing" };
      assert.deepEqual(await keys.open(token, now), opened);
    }
    assert.equal(await reason(keys, token, NOW - 60_001), "future");
    assert.equal(await reason(keys, token, NOW + 120_000), "expired");
    assert.equal(await reason(keys, token, NaN), "expired");
    assert.equal(await reason(await one(suite, { not_before: NOW + 1 }), token), "not_before");
    assert.equal(await reason(keys, await keys.seal({})), "future", "by the system's clock");
  }
});

test("each token has a nonce of its own", async () => {
  for (const suite of SUITES) {
    const keys = await one(suite);
    const tokens = await Promise.all(Array.from({ length: 100 }, () => keys.seal("{}", NOW)));
    assert.equal(new Set(tokens).size, 100);
  }
});

test("a mutated byte opens nowhere", async () => {
  for (const suite of SUITES) {
    const keys = await one(suite);
    const token = await keys.seal({ id: "42" }, NOW);
    for (let at = 0; at < token.length; at++) {
      for (const other of ["A", "B", "-", "+", "=", "\n", "\0", "é", "\ud800"]) {
        if (other !== token[at]) await reason(keys, token.slice(0, at) + other + token.slice(at + 1));
      }
    }
    for (const other of [`${token}=`, `${token}\n`, ` ${token}`, token.slice(0, -1), token + token, "", undefined, 1, [token]]) {
      assert.ok(["length", "encoding", "tag"].includes(await reason(keys, other)));
    }
  }
});

test("a token is sealed under the active key alone", async () => {
  for (const suite of SUITES) {
    const lines = ["staged", "active", "retired"].map((state, i) => key(i + 1, state, suite));
    const token = await (await Keys.parse(ring(lines))).seal({}, NOW);
    for (const state of ["staged", "retired"]) {
      const keys = await Keys.parse(ring([key(2, state, suite)]));
      assert.equal((await keys.open(token, NOW)).kid, "00000002");
      await assert.rejects(keys.seal({}, NOW), { name: "SealError", message: "there is no active key to seal with" });
    }
  }
});

test("a suite that is not supported spoils nothing else", async () => {
  const keys = await Keys.parse(ring([key(1), key(2, "staged", "xchacha20-poly1305")]));
  assert.equal((await keys.open(await keys.seal({}, NOW), NOW)).text, "{}");
  assert.equal(await reason(keys, encode([0x6e, 0xe9, 0x42, 0, 0, 0, 2, ...new Uint8Array(60)])), "unsupported");
  const unsupported = await Keys.parse(ring([key(2, "active", "xchacha20-poly1305")]));
  await assert.rejects(unsupported.seal({}), { message: "suite not supported" });
});

test("what is no strict object is not sealed", async () => {
  const keys = await one("xaes-256-gcm");
  const cyclic = {};
  cyclic.self = cyclic;
  const texts = ["", "[]", "null", '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":NaN}', '{"a":"\\ud800"}', '{"a":"\ud800"}', "\ufeff{}"];
  const bad = [...texts, '{"\\"}":1,"\\"}":2}', cyclic, [], null, undefined, { a: "\ud800" }, { a: 1n }, { a: [[[[[[[[]]]]]]]] }];
  for (const payload of bad) {
    await assert.rejects(keys.seal(payload, NOW), { name: "SealError", message: /strict JSON/ }, inspect(payload));
  }
});

test("a token has at most 4096 characters", async () => {
  for (const suite of SUITES) {
    const keys = await one(suite);
    const room = 4096 * 3 / 4 - 7 - (suite === "xaes-256-gcm" ? 24 : 12) - 6 - 16 - '{"a":""}'.length;
    const token = await keys.seal({ a: "x".repeat(room) }, NOW);
    assert.ok(token.length <= 4096 && (await keys.open(token, NOW)).payload.a.length === room);
    await assert.rejects(keys.seal({ a: "x".repeat(room + 1) }, NOW), /too long/);
    for (const now of [-1, 2 ** 48, 0.5, NaN]) await assert.rejects(keys.seal({}, now), /out of range/);
  }
});

test("suite A stops at 2^32", async () => {
  sealed.set("00000003", 2 ** 32 - 1);
  const keys = await Keys.parse(ring([key(3, "active", "aes-256-gcm")]));
  await keys.seal({});
  await assert.rejects(keys.seal({}), /2\^32/);
  await (await Keys.parse(ring([key(3)]))).seal({});
});

test("what is no export is refused", async () => {
  const good = JSON.parse(ring([key(1)]));
  assert.equal((await Keys.parse(ring([key(1)]))).maxAge, 120);
  const changes = [
    { version: 2 }, { version: true }, { version: "1" }, { purpose: "Access" }, { purpose: "access\n" }, { purpose: "" },
    { audience: "-" }, { audience: null }, { max_age: -1 }, { max_age: "120" }, { max_age: 0.5 }, { max_age: 1e300 }, { not_before: null },
    { keys: {} }, { keys: [1] }, { keys: [null] }, { more: 1 }, { keys: [key(1), key(1, "staged")] }, { keys: [key(1), key(2)] },
    { keys: [key(1, "revoked")] }, { keys: [{ ...key(1), more: 1 }] }, { keys: [{ ...key(1), suite: "aes-128-gcm" }] },
    { keys: [{ ...key(1), kid: "0000000A" }] }, { keys: [{ ...key(1), kid: "1" }] }, { keys: [{ ...key(1), key: 1 }] },
    { keys: [{ ...key(1), key: "A".repeat(42) + "B" }] }, { keys: [{ ...key(1), key: "A".repeat(44) }] },
  ];
  const texts = changes.map((change) => JSON.stringify({ ...good, ...change }));
  texts.push("", "[]", "null", ring([key(1)]).slice(0, -1), `\ufeff${ring([])}`, ring([]).replace("{", '{"version":1,'));
  for (const missing of Object.keys(good)) texts.push(JSON.stringify({ ...good, [missing]: undefined }));
  for (const text of [...texts, Uint8Array.of(0xff), new TextEncoder().encode(`\ufeff${ring([])}`)]) {
    const bad = await Keys.parse(text).then(() => assert.fail(`taken: ${text}`), (error) => error);
    assert.ok(bad instanceof BadExport, bad);
    assert.ok(!bad.message.includes(key(1).key));
  }
});

test("the environment holds an export in one line", async () => {
  const value = Buffer.from(ring([key(1)])).toString("base64url");
  assert.equal((await Keys.fromEnv(value)).audience, "billing");
  for (const bad of [undefined, "", "e", ring([key(1)]), encode([0xff, 0xff]), `${value}=`]) {
    await assert.rejects(Keys.fromEnv(bad), BadExport);
  }
});

test("no key shows in what Node prints", async () => {
  const shown = inspect(await one("aes-256-gcm"), { depth: Infinity, showHidden: true });
  assert.ok(shown.includes("billing") && !shown.includes(key(1).key) && !/1,\s*1,\s*1/.test(shown), shown);
  assert.ok(new SealError("x") instanceof Error);
});
