import type { Keys, Opened, Opener, Sealer } from "./index.js";

export * from "./index.js";

/**
 * The keys of an export file; read again when the file changes. Each use asks the file system for the file's state (a
 * few microseconds), so that a new export is in force at once. If the new one is broken, missing, or of another purpose
 * or audience, the last good one stays in force, `fault` says why, and a warning is emitted once.
 */
export class KeyFile implements Opener, Sealer {
  private constructor();
  /** Rejects if there is no good export to begin with. */
  static read(path: string): Promise<KeyFile>;
  /** The keys in force now. */
  keys(): Promise<Keys>;
  /** Why the present file is not in force; null while it is. */
  readonly fault: string | null;
  readonly purpose: string;
  open(token: string, now?: number): Promise<Opened>;
  seal(payload: object | string, now?: number): Promise<string>;
}
