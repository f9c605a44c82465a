/**
 * Opens and seals Bulla's tokens with keys from `bulla keys export`, in Node and in browsers. Needs only WebCrypto.
 *
 * Read the files in this order: wire.js (the layout), suite.js (the ciphers), payload.js (the accepted JSON),
 * export.js (reading an export), keys.js (open and seal), key_file.js (an export file that is reloaded), openers.js
 * (several exports).
 */
export { BadExport } from "./export.js";
export { Keys, Refused, SealError } from "./keys.js";
export { Openers } from "./openers.js";
