/** An export file that is reloaded when it changes. Needs Node. */

import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { BadExport } from "./export.js";
import { Keys } from "./keys.js";

export class KeyFile {
  #path;
  #stamp;
  #keys;
  #reading = false;
  /** The reason why the current file is not in force; null if it is in force. */
  fault = null;

  constructor(path, stamp, keys) {
    this.#path = path;
    this.#stamp = stamp;
    this.#keys = keys;
  }

  /** Rejects if the file is not a valid export. */
  static async read(path) {
    return new KeyFile(path, look(path), await Keys.parse(await readRegular(path)));
  }

  /** The keys in force now. */
  async keys() {
    // Calls that come while the new file is being read use the last good keys.
    if (!this.#reading && look(this.#path) !== this.#stamp) {
      this.#reading = true;
      await this.#reload().finally(() => (this.#reading = false));
    }
    return this.#keys;
  }

  /** The purpose of the tokens; stays the same for the life of this object. */
  get purpose() {
    return this.#keys.purpose;
  }

  async open(token, now) {
    return (await this.keys()).open(token, now);
  }

  async seal(payload, now) {
    return (await this.keys()).seal(payload, now);
  }

  async #reload() {
    // The state is taken before the file is read, so that a change during the read is seen at the next call.
    this.#stamp = look(this.#path);
    try {
      const { purpose, audience } = this.#keys;
      const keys = await Keys.parse(await readRegular(this.#path));
      if (keys.purpose !== purpose || keys.audience !== audience) {
        throw new BadExport("it has another purpose or audience than before");
      }
      this.#keys = keys;
      this.fault = null;
    } catch (error) {
      // A system error can disappear while the file's state stays the same, so the next call reads again.
      if (!(error instanceof BadExport)) this.#stamp = null;
      if (error.message !== this.fault) {
        process.emitWarning(`${this.#path}: ${error.message}; the last good keys stay in force`, "BullaWarning");
      }
      this.fault = error.message;
    }
  }
}

/** Opening a FIFO would wait for a writer. */
async function readRegular(path) {
  if (!statSync(path).isFile()) throw Object.assign(new Error(`${path}: not a regular file`), { code: "EINVAL" });
  return readFile(path);
}

/** The file's state, or the code of the error if it cannot be read (EACCES, ELOOP, ENOTDIR, …). Never throws. */
function look(path) {
  try {
    const state = statSync(path, { bigint: true });
    return [state.dev, state.ino, state.mtimeNs, state.size].join();
  } catch (error) {
    return error.code ?? error.message;
  }
}
