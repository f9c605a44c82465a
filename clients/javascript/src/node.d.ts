import type { Keys, Opened, Opener, Sealer } from "./index.js";

export * from "./index.js";

/**
 * The keys of an export file, which is read again when it changes. Each use reads the file's state from the file system
 * (a few microseconds), so a new export is in force at once. If the new export is invalid, missing, or of another
 * purpose or audience, the last good one stays in force, `fault` gives the reason, and a warning is emitted once.
 */
export class KeyFile implements Opener, Sealer {
  private constructor();
  /** Rejects if the file is not a valid export. */
  static read(path: string): Promise<KeyFile>;
  /** The keys in force now. */
  keys(): Promise<Keys>;
  /** The reason why the current file is not in force; null if it is in force. */
  readonly fault: string | null;
  readonly purpose: string;
  open(token: string, now?: number): Promise<Opened>;
  seal(payload: object | string, now?: number): Promise<string>;
}
