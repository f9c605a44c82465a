/** Strict JSON (RFC 7493): one object, no duplicate keys, unpaired surrogates or noncharacters, at most 8 levels deep. */

const MAX_DEPTH = 8;
// Strings and brackets. In text that `JSON.parse` has accepted, quotes and brackets occur only in these elements.
const ELEMENT = /"(?:[^"\\]|\\.)*"|[[\]{}]/g;
const KEY_ENDS = /[ \t\n\r]*:/y;
const FORBIDDEN = /[\p{Surrogate}\p{Noncharacter_Code_Point}]/u;
// A byte order mark is not JSON; the decoder must not remove it silently.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8; throws if the bytes are not UTF-8. */
export function fromUtf8(bytes) {
  return utf8.decode(bytes);
}

/**
 * Reads one strict object, or throws a SyntaxError that quotes nothing from the text. A number beyond the precision of
 * a double is rounded, as usual in JavaScript.
 */
export function parse(text) {
  const value = taken(text);
  const open = [];
  let depth = 0;
  for (const { 0: element, index } of text.matchAll(ELEMENT)) {
    if (element === "{" || element === "[") {
      open.push(element === "{" ? new Set() : null);
      depth = Math.max(depth, open.length);
    } else if (element === "}" || element === "]") {
      open.pop();
    } else {
      string(text, element, index, open.at(-1));
    }
  }
  if (depth > MAX_DEPTH) throw new SyntaxError("too deep");
  if (!/^[ \t\n\r]*\{/.test(text)) throw new SyntaxError("not an object");
  return value;
}

/** JSON.parse checks the grammar. Its error is replaced, because its message may quote the text. */
function taken(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError("not JSON");
  }
}

function string(text, element, index, names) {
  const content = JSON.parse(element);
  if (FORBIDDEN.test(content)) throw new SyntaxError("a surrogate alone, or a noncharacter");
  KEY_ENDS.lastIndex = index + element.length;
  if (!KEY_ENDS.test(text)) return;
  if (names.has(content)) throw new SyntaxError("a key stands twice");
  names.add(content);
}
