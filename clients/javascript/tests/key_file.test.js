// Tests an export file that changes.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BadExport, KeyFile, Keys, Refused } from "../src/node.js";
import { key, ring } from "./ring.js";

const OLD = ring([key(1)]);
const NEW = ring([key(2), key(1, "retired")]);
const sealedUnder = async (text) => (await Keys.parse(text)).seal({});

function folder(context) {
  const folder = mkdtempSync(join(tmpdir(), "bulla-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function replace(path, text) {
  writeFileSync(`${path}.next`, text);
  renameSync(`${path}.next`, path);
}

test("a new export is in force at once", async (context) => {
  const path = join(folder(context), "billing.keys.json");
  replace(path, OLD);
  const file = await KeyFile.read(path);
  const [old, fresh] = [await sealedUnder(OLD), await sealedUnder(NEW)];
  assert.equal((await file.open(old)).kid, "00000001");
  await assert.rejects(file.open(fresh), Refused);
  replace(path, NEW);
  assert.deepEqual([(await file.open(fresh)).kid, (await file.open(old)).kid], ["00000002", "00000001"]);
  assert.equal((await file.open(await file.seal({}))).kid, "00000002");
  replace(path, ring([key(2)]));
  await assert.rejects(file.open(old), Refused);
});

test("a file written in place and a link that moves are seen", async (context) => {
  const home = folder(context);
  const path = join(home, "billing.keys.json");
  const fresh = await sealedUnder(NEW);
  writeFileSync(path, OLD);
  const file = await KeyFile.read(path);
  writeFileSync(path, NEW);
  assert.ok(await file.open(fresh));
  // As Kubernetes mounts secrets: through a symbolic link to a directory.
  for (const [name, text] of [["old", OLD], ["new", NEW]]) {
    mkdirSync(join(home, name));
    writeFileSync(join(home, name, "keys"), text);
  }
  symlinkSync("old", join(home, "data"));
  const mounted = await KeyFile.read(join(home, "data", "keys"));
  symlinkSync("new", join(home, "next"));
  renameSync(join(home, "next"), join(home, "data"));
  assert.ok(await mounted.open(fresh));
});

test("the last good export stays in force", async (context) => {
  const warnings = [];
  const listen = (warning) => warning.name === "BullaWarning" && warnings.push(warning.message);
  process.on("warning", listen);
  context.after(() => process.off("warning", listen));
  const path = join(folder(context), "billing.keys.json");
  replace(path, OLD);
  const file = await KeyFile.read(path);
  const token = await file.seal({});
  const broken = ["", OLD.slice(0, -1), "<html>", ring([key(1)], { purpose: "service" }), ring([key(1)], { audience: "shop" })];
  for (const text of broken) {
    replace(path, text);
    for (let i = 0; i < 3; i++) assert.ok(await file.open(token));
    assert.match(file.fault, /^not a key export/);
    replace(path, OLD);
    assert.ok(await file.open(token));
    assert.equal(file.fault, null);
  }
  await new Promise(setImmediate);
  assert.equal(warnings.length, broken.length);
  assert.ok(!warnings.join().includes(key(1).key));
});

test("a file that goes away is waited for", async (context) => {
  const path = join(folder(context), "billing.keys.json");
  replace(path, OLD);
  const file = await KeyFile.read(path);
  const token = await file.seal({});
  rmSync(path);
  assert.ok(await file.open(token));
  assert.match(file.fault, /ENOENT/);
  mkdirSync(path);
  assert.ok(await file.open(token));
  assert.match(file.fault, /not a regular file/);
  rmSync(path, { recursive: true });
  execFileSync("mkfifo", [path]);
  assert.ok(await file.open(token));
  assert.match(file.fault, /not a regular file/);
  rmSync(path);
  replace(path, NEW);
  assert.ok(await file.open(token));
  assert.equal(file.fault, null);
});

test("no error of the file system gets through to a caller", async (context) => {
  const home = folder(context);
  const path = join(home, "data", "billing.keys.json");
  const broken = {
    ENOTDIR: () => writeFileSync(join(home, "data"), ""),
    ELOOP: () => symlinkSync("data", join(home, "data")),
    ENAMETOOLONG: () => symlinkSync("x".repeat(256), join(home, "data")),
    ENOENT: () => {},
  };
  for (const [code, breakIt] of Object.entries(broken)) {
    mkdirSync(join(home, "data"));
    writeFileSync(path, OLD);
    const file = await KeyFile.read(path);
    const token = await file.seal({});
    rmSync(join(home, "data"), { recursive: true });
    breakIt();
    for (let i = 0; i < 3; i++) assert.ok(await file.open(token), code);
    assert.match(file.fault, new RegExp(code));
    rmSync(join(home, "data"), { force: true });
    mkdirSync(join(home, "data"));
    writeFileSync(path, NEW);
    assert.equal((await file.open(await sealedUnder(NEW))).kid, "00000002", code);
    assert.equal(file.fault, null);
    rmSync(join(home, "data"), { recursive: true });
  }
});

test("there is a good export to begin with", async (context) => {
  const path = join(folder(context), "billing.keys.json");
  await assert.rejects(KeyFile.read(path), { code: "ENOENT" });
  writeFileSync(path, "{}");
  await assert.rejects(KeyFile.read(path), BadExport);
});
