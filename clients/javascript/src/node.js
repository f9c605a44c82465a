/** What Node has besides: an exported key file that is followed. */

import { webcrypto } from "node:crypto";
import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { BadExport } from "./export.js";
import { Keys } from "./keys.js";

// As Node has it by itself from 19 on.
globalThis.crypto ??= webcrypto;

export * from "./index.js";

export class KeyFile {
  #path;
  #stamp;
  #keys;
  #reading = false;
  /** Why the present file is not in force; null while it is. */
  fault = null;

  constructor(path, stamp, keys) {
    this.#path = path;
    this.#stamp = stamp;
    this.#keys = keys;
  }

  /** Rejects if there is no good export to begin with. */
  static async read(path) {
    return new KeyFile(path, look(path), await Keys.parse(await readFile(path)));
  }

  /** The keys in force now. */
  async keys() {
    // Whoever comes while the new file is being read goes on with the last good keys.
    if (!this.#reading && look(this.#path) !== this.#stamp) {
      this.#reading = true;
      await this.#reload().finally(() => (this.#reading = false));
    }
    return this.#keys;
  }

  async open(token, now) {
    return (await this.keys()).open(token, now);
  }

  async seal(payload, now) {
    return (await this.keys()).seal(payload, now);
  }

  async #reload() {
    // Looked at before it is read: what is written meanwhile is read the next time.
    this.#stamp = look(this.#path);
    try {
      const { purpose, audience } = this.#keys;
      const keys = await Keys.parse(await readFile(this.#path));
      if (keys.purpose !== purpose || keys.audience !== audience) {
        throw new BadExport("another purpose or audience than before");
      }
      this.#keys = keys;
      this.fault = null;
    } catch (error) {
      // What the system says may be gone the next time, though the file's state is the same.
      if (!(error instanceof BadExport)) this.#stamp = null;
      if (error.message !== this.fault) {
        process.emitWarning(`${this.#path}: ${error.message}; the last good keys stay in force`, "BullaWarning");
      }
      this.fault = error.message;
    }
  }
}

function look(path) {
  const state = statSync(path, { bigint: true, throwIfNoEntry: false });
  return state && [state.dev, state.ino, state.mtimeNs, state.size].join();
}
