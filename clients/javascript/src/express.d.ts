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

export interface BearerOptions {
  /** The purposes whose tokens are admitted; without it, the purpose of the (first) export. */
  purposes?: readonly string[];
}

/**
 * Opens the token of `Authorization: Bearer …` into `request.bulla`, or answers 401, the same for every refusal; the
 * reason is left in `response.locals.refused` for logs. With exports for people and for machines,
 * `bearer(new Openers(people, machines))` admits people only and refuses a machine's token with the reason `purpose`.
 */
export function bearer(keys: Opener, options?: BearerOptions): (request: IncomingMessage, response: Answer, next: (error?: unknown) => void) => Promise<void>;

/** What the request's token says. Throws an `Error` in a handler without `bearer` in front of it. */
export function opened(request: IncomingMessage): Opened;
