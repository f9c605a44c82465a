/**
 * Opens and seals Bulla's tokens with keys from `bulla keys export`, in Node and in browsers, on WebCrypto alone.
 *
 * Read it in this order: wire.js (the layout), suites.js (the ciphers), strict.js (the JSON that is accepted),
 * export.js (what is read), keys.js (open and seal), node.js (an export that is followed), openers.js (several exports).
 */
export { BadExport } from "./export.js";
export { Keys, Refused, SealError } from "./keys.js";
export { Openers } from "./openers.js";
