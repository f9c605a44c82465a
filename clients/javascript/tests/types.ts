// Only compiled, never run: checks the types that a user of the package works with.

import express from "express";
import { BadExport, KeyFile, Keys, Refused, SealError, type Opened } from "bulla-sessions";
import { bearer, opened as read } from "bulla-sessions/express";
import { session } from "bulla-sessions/session";

const file = await KeyFile.read("billing.keys.json");
const keys: Keys = await Keys.fromEnv(process.env.BULLA_EXPORT);
const opened: Opened = await file.open(await keys.seal({ id: "42" }), Date.now());
const text: string = opened.text;
const fault: string | null = file.fault;
// @ts-expect-error: the payload of a token must be checked before its use.
const id: string = opened.payload.id;
// @ts-expect-error: keys are parsed; there is no public constructor.
new Keys();
// @ts-expect-error: no API accepts a nonce.
await keys.seal("{}", 0, new Uint8Array(24));

const app = express();
app.get("/invoices", bearer(file), (request, response) => {
  response.json([request.bulla?.payload, read(request).payload, text, fault, id]);
});

const { fetch, logout } = session({ ended: () => location.assign("/auth/login") });
const answer: Response = await fetch("/invoices", { method: "POST", body: "{}" });
await logout();
for (const error of [new Refused("tag"), new SealError(), new BadExport()]) console.log(error.message, answer.ok);
