// The Express middleware, in a real application; and the page's example, run.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "node:test";
import express from "express";
import { Keys } from "../src/node.js";
import { bearer } from "../src/express.js";
import { NOW, key, ring } from "./ring.js";

const keys = await Keys.parse(ring([key(1)]));

/** Sends `Authorization` as often as there are values; fetch would join them. */
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

test("what isn't a refusal is the application's", async (context) => {
  const app = express();
  const broken = { open: async () => { throw new TypeError("broken"); } };
  app.get("/", bearer(broken), () => assert.fail("it passed"));
  app.use((error, request, response, next) => response.status(500).send(error.message));
  const { status, body } = await get(await serve(context, app), "/", [`Bearer x`]);
  assert.deepEqual([status, body], [500, "broken"]);
});

test("the example of the page works", async (context) => {
  const home = mkdtempSync(join(tmpdir(), "bulla-"));
  const before = process.cwd();
  context.after(() => (process.chdir(before), rmSync(home, { recursive: true })));
  const page = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, block] = page.match(/\n```js\n(.*?)```\n/s);
  assert.ok(block.trimEnd().split("\n").length <= 10);
  writeFileSync(join(home, "billing.keys.json"), ring([key(1)]));
  writeFileSync(join(home, "example.mjs"), block.replace("app.listen(8000)", "export default app"));
  const here = fileURLToPath(new URL("..", import.meta.url));
  mkdirSync(join(home, "node_modules"));
  symlinkSync(here, join(home, "node_modules", "bulla"));
  symlinkSync(join(here, "node_modules", "express"), join(home, "node_modules", "express"));
  process.chdir(home);
  const { default: app } = await import(pathToFileURL(join(home, "example.mjs")));
  const port = await serve(context, app);
  const { status, body } = await get(port, "/invoices", [`Bearer ${await keys.seal({ id: "42" })}`]);
  assert.deepEqual([status, body], [200, '{"invoices of":"42"}']);
  assert.equal((await get(port, "/invoices", [])).status, 401);
});
