// Tests the Express middleware in a real application, and runs the example of the client's README.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "node:test";
import express from "express";
import { Keys, Openers } from "../src/node.js";
import { bearer, opened } from "../src/express.js";
import { NOW, key, ring } from "./ring.js";

const keys = await Keys.parse(ring([key(1)]));

/** Sends one `Authorization` header for each value; fetch would join them. */
function get(port, path, authorization) {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path, headers: { Authorization: authorization } }, async (answer) => {
      const body = (await answer.setEncoding("utf8").toArray()).join("");
      resolve({ status: answer.statusCode, body, challenge: answer.headers["www-authenticate"] });
    });
    sent.on("error", reject).end();
  });
}

async function serve(context, app) {
  const server = app.listen(0);
  context.after(() => server.close());
  await new Promise((resolve) => server.on("listening", resolve));
  return server.address().port;
}

test("a token passes and its payload is there; every refusal gets the same answer", async (context) => {
  const reasons = [];
  const app = express();
  app.use((request, response, next) => {
    response.on("finish", () => response.locals.refused && reasons.push(response.locals.refused));
    next();
  });
  app.get("/invoices", bearer(keys), (request, response) => response.json(request.bulla.payload));
  const port = await serve(context, app);
  const token = await keys.seal({ id: "42" });
  for (const scheme of ["Bearer", "bearer", "BEARER"]) {
    const { status, body } = await get(port, "/invoices", [`${scheme} ${token}`]);
    assert.deepEqual([status, body], [200, '{"id":"42"}']);
  }
  const old = `Bearer ${await keys.seal({}, NOW)}`;
  const attempts = [[], ...[old, `Bearer  ${token}`, `Bearer ${token},${token}`, "Bearer", "Bearer ", `Basic ${token}`, token, ""].map((value) => [value])];
  attempts.push([`Bearer ${token}`, `Bearer ${token}`]);
  for (const attempt of attempts) {
    assert.deepEqual(await get(port, "/invoices", attempt), { status: 401, body: '{"error":"token refused"}', challenge: "Bearer" });
  }
  assert.equal(reasons.length, attempts.length);
  assert.deepEqual(new Set(reasons), new Set(["expired", "encoding", "missing"]));
});

test("a resource server for people and machines tells their tokens apart", async (context) => {
  const machines = await Keys.parse(ring([key(2)], { purpose: "service" }));
  const [person, machine] = [await keys.seal({ id: "42" }), await machines.seal({ id: "client:cron" })];
  const both = new Openers(keys, machines);
  const reasons = [];
  const app = express();
  app.use((request, response, next) => {
    response.on("finish", () => reasons.push(response.locals.refused));
    next();
  });
  const show = (request, response) => response.json([opened(request).purpose, opened(request).payload.id]);
  app.get("/people", bearer(both), show);
  app.get("/machines", bearer(both, { purposes: ["service"] }), show);
  app.get("/both", bearer(both, { purposes: ["access", "service"] }), show);
  const port = await serve(context, app);
  const said = async (path, token) => {
    const { status, body } = await get(port, path, [`Bearer ${token}`]);
    return status === 200 ? body : [status, body, reasons.pop()];
  };
  const refused = [401, '{"error":"token refused"}', "purpose"];
  assert.equal(await said("/people", person), '["access","42"]');
  assert.deepEqual(await said("/people", machine), refused);
  assert.deepEqual(await said("/machines", person), refused);
  assert.equal(await said("/machines", machine), '["service","client:cron"]');
  assert.equal(await said("/both", person), '["access","42"]');
  assert.equal(await said("/both", machine), '["service","client:cron"]');
});

test("what isn't a refusal is the application's", async (context) => {
  const app = express();
  const broken = { purpose: "access", open: async () => { throw new TypeError("broken"); } };
  app.get("/", bearer(broken), () => assert.fail("it passed"));
  app.use((error, request, response, next) => response.status(500).send(error.message));
  const { status, body } = await get(await serve(context, app), "/", [`Bearer x`]);
  assert.deepEqual([status, body], [500, "broken"]);
});

const here = fileURLToPath(new URL("..", import.meta.url));
const page = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const [, example] = page.match(/\n```js\n(.*?)```\n/s);

/** Makes a folder of a user who has installed this package and `others`. */
function home(context, others) {
  const home = mkdtempSync(join(tmpdir(), "bulla-"));
  context.after(() => rmSync(home, { recursive: true }));
  mkdirSync(join(home, "node_modules"));
  symlinkSync(here, join(home, "node_modules", "bulla-sessions"));
  for (const name of others) symlinkSync(join(here, "node_modules", name), join(home, "node_modules", name));
  return home;
}

test("the example of the page works", async (context) => {
  const folder = home(context, ["express"]);
  const before = process.cwd();
  context.after(() => process.chdir(before));
  assert.ok(example.trimEnd().split("\n").length <= 10);
  writeFileSync(join(folder, "billing.keys.json"), ring([key(1)]));
  writeFileSync(join(folder, "example.mjs"), example.replace("app.listen(8000)", "export default app"));
  process.chdir(folder);
  const { default: app } = await import(pathToFileURL(join(folder, "example.mjs")));
  const port = await serve(context, app);
  const { status, body } = await get(port, "/invoices", [`Bearer ${await keys.seal({ id: "42" })}`]);
  assert.deepEqual([status, body], [200, '{"invoices of":"42"}']);
  assert.equal((await get(port, "/invoices", [])).status, 401);
});

test("the example of the page compiles as strict TypeScript", (context) => {
  const folder = home(context, ["express", "@types"]);
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "example.ts"), example);
  const options = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noEmit", "--module", "nodenext"];
  const compiler = [join(here, "node_modules/typescript/bin/tsc"), ...options, "--target", "es2022", "--types", "node", "example.ts"];
  const { status, stdout } = spawnSync(process.execPath, compiler, { cwd: folder, encoding: "utf8" });
  assert.equal(status, 0, stdout);
});

test("a CommonJS program loads the package with require()", (context) => {
  const folder = home(context, []);
  const program = `
    const { Keys } = require("bulla-sessions");
    const { bearer, opened } = require("bulla-sessions/express");
    Keys.parse(process.argv[2]).then(async (keys) => console.log((await keys.open(await keys.seal({ id: "42" }))).text));
    if (typeof bearer !== "function" || typeof opened !== "function") process.exit(1);
  `;
  writeFileSync(join(folder, "program.cjs"), program);
  const { status, stdout, stderr } = spawnSync(process.execPath, ["program.cjs", ring([key(1)])], { cwd: folder, encoding: "utf8" });
  assert.deepEqual([status, stdout], [0, '{"id":"42"}\n'], stderr);
});

test("a handler without the middleware says what is missing", () => {
  assert.throws(() => opened({}), /put bearer\(keys\) in front/);
});
