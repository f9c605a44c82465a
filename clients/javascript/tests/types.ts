// Compiled, never run: the types are what a user of the package writes against.

import express from "express";
import { BadExport, KeyFile, Keys, Refused, SealError, type Opened } from "bulla-sessions";
import { bearer, opened as read } from "bulla-sessions/express";
import { session } from "bulla-sessions/session";

const file = await KeyFile.read("billing.keys.json");
const keys: Keys = await Keys.fromEnv(process.env.BULLA_EXPORT);
const opened: Opened = await file.open(await keys.seal({ id: "42" }), Date.now());
const text: string = opened.text;
const fault: string | null = file.fault;
// @ts-expect-error: what a token says is to be looked at before it is believed.
const id: string = opened.payload.id;
// @ts-expect-error: keys are parsed, never made.
new Keys();
// @ts-expect-error: no API takes a nonce.
await keys.seal("{}", 0, new Uint8Array(24));

const app = express();
app.get("/invoices", bearer(file), (request, response) => {
  response.json([request.bulla?.payload, read(request).payload, text, fault, id]);
});

const { fetch, logout } = session({ ended: () => location.assign("/auth/login") });
const answer: Response = await fetch("/invoices", { method: "POST", body: "{}" });
await logout();
for (const error of [new Refused("tag"), new SealError(), new BadExport()]) console.log(error.message, answer.ok);
