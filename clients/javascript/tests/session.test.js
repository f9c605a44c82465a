// Tests the size of the browser helper. tests/it/http/javascript_client.rs tests its behavior in real tabs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

test("the helper for browsers weighs a kilobyte at most, minified", async (context) => {
  const source = readFileSync(new URL("../src/session.js", import.meta.url), "utf8");
  const { code } = await minify(source, { module: true, ecma: 2020 });
  context.diagnostic(`session.js: ${code.length} bytes minified, ${gzipSync(code).length} gzipped`);
  assert.ok(code.includes("export") && code.length <= 1024);
});
