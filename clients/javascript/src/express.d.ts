import type { IncomingMessage } from "node:http";
import type { Opened, Opener } from "./index.js";

declare module "http" {
  interface IncomingMessage {
    /** The content of the request's token, which `bearer` has opened. */
    bulla?: Opened;
  }
}

/** The part of Express's response that `bearer` uses. */
export interface Answer {
  locals: Record<string, unknown>;
  set(headers: Record<string, string>): unknown;
  status(code: number): { json(body: unknown): unknown };
}

export interface BearerOptions {
  /** The purposes whose tokens are admitted; by default the purpose of the (first) export. */
  purposes?: readonly string[];
}

/**
 * Opens the token of `Authorization: Bearer …` into `request.bulla`, or answers 401, with the same answer for every
 * refusal. The reason is put in `response.locals.refused` for logs. With exports for people and for machines,
 * `bearer(new Openers(people, machines))` admits people only and refuses a machine's token with the reason `purpose`.
 */
export function bearer(keys: Opener, options?: BearerOptions): (request: IncomingMessage, response: Answer, next: (error?: unknown) => void) => Promise<void>;

/** Returns the content of the request's token. Throws an `Error` in a handler that is not behind `bearer`. */
export function opened(request: IncomingMessage): Opened;
