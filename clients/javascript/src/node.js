/** The package in Node: everything that browsers have, and the key file. */
export * from "./index.js";
export { KeyFile } from "./key_file.js";
