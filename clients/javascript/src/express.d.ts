import type { IncomingMessage } from "node:http";
import type { Opened, Opener } from "./index.js";

declare module "http" {
  interface IncomingMessage {
    /** What the request's token says, behind `bearer`. */
    bulla?: Opened;
  }
}

/** As much of Express's response as is used. */
export interface Answer {
  locals: Record<string, unknown>;
  set(headers: Record<string, string>): unknown;
  status(code: number): { json(body: unknown): unknown };
}

/**
 * Opens the token of `Authorization: Bearer …` into `request.bulla`, or answers 401, the same for every refusal; the
 * reason is left in `response.locals.refused` for logs.
 */
export function bearer(keys: Opener): (request: IncomingMessage, response: Answer, next: (error?: unknown) => void) => Promise<void>;
