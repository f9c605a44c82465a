/** Combines several exports into one opener: for tokens of people and of machines, or of several audiences. */

import { Refused } from "./keys.js";

/** The reasons for which another export may still open the token, in the order of an opener's checks. */
const UNDECIDED = ["unknown_key", "suite", "unsupported", "length", "tag"];

export class Openers {
  #openers;

  constructor(...openers) {
    if (!openers.length) throw new TypeError("at least one opener is needed");
    this.#openers = openers;
  }

  /** The purpose of the first export, which `bearer` admits by default. */
  get purpose() {
    return this.#openers[0].purpose;
  }

  async open(token, now) {
    let furthest;
    for (const opener of this.#openers) {
      try {
        return await opener.open(token, now);
      } catch (error) {
        if (!(error instanceof Refused && UNDECIDED.includes(error.reason))) throw error;
        if (!furthest || rank(error) > rank(furthest)) furthest = error;
      }
    }
    throw furthest;
  }
}

function rank(refused) {
  return UNDECIDED.indexOf(refused.reason);
}
