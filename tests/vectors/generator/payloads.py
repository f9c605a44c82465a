"""Payloads of one token each: (name, payload, what it shows). Strict JSON is RFC 7493, at most 8 deep."""


def nested(open_, close, times, inside=""):
    return open_ * times + inside + close * times


def numbered(count):
    return ",".join(f'"{i}":0' for i in range(count))


GOOD = [
    ("empty-object", "{}", "An empty object will do."),
    ("blanks", ' \t\r\n{ "a" : [ 1 , { } ] , "b" : [ ] } \n', "Blanks of JSON may stand wherever JSON has them."),
    ("all-kinds", '{"a":null,"b":true,"c":false,"d":-1.5e+3,"e":"x","f":[],"g":{}}', "Every kind of value."),
    ("any-claims", '{"no":"id"}', "The opener asks for no `id`; the server does."),
    ("unicode", '{"ключ":"значение","名前":"値","😀":"é"}', "Keys and values in any script."),
    ("escapes", r'{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9"}', "Every escape of JSON."),
    ("escaped-nul", r'{"a":"x\u0000y"}', "An escaped NUL is a character like any other."),
    ("escaped-pair", r'{"a":"\ud83d\ude00","\uD83D\uDE00":1}', "A high and a low surrogate are one character."),
    ("delete-character", '{"a":"\x7f"}', "U+007F needs no escape."),
    ("private-use", '{"a":"\ue000\ufdcf\ufdf0\ufffd\U0010fffd"}', "Neighbours of the noncharacters, and private use."),
    ("line-separators", '{"a":"\u2028\u2029"}', "U+2028 and U+2029 need no escape."),
    ("bom-inside", '{"a":"\ufeff"}', "U+FEFF inside a string is a character like any other."),
    ("empty-key", '{"":1,"a":{"":2}}', "A key may be empty."),
    ("proto-key", '{"__proto__":{"a":1},"constructor":1}', "No key has a meaning to the opener."),
    ("keys-by-case", '{"a":1,"A":2}', "Keys that differ by case are two."),
    ("keys-by-form", '{"\u00e9":1,"e\u0301":2}', "Keys are compared as they are, never normalised."),
    ("keys-by-prefix", '{"a":1,"aa":2,"":3,"a ":4}', "Keys of which one begins another are two."),
    ("keys-by-object", '{"a":{"a":{"a":1}},"b":{"a":1},"c":[{"a":1},{"a":2}]}', "One key in several objects."),
    ("keys-many", "{" + numbered(250) + "}", "250 keys, none twice."),
    ("value-as-key", '{"a":"b","b":"a"}', "A value is no key."),
    ("numbers", '{"a":[0,-0,1,-1,10,0.5,-0.5,1e5,1E5,1e+5,1e-5,1.5e5,0e0]}', "Every form of number."),
    ("numbers-big", '{"a":9007199254740993,"b":123456789012345678901234567890,"c":1e400,"d":1e-400}',
     "Numbers beyond a double pass, since the payload is handed on as text."),
    ("depth-8-objects", nested('{"a":', "}", 7, "{}"), "Objects 8 deep."),
    ("depth-8-arrays", '{"a":' + nested("[", "]", 7) + "}", "An object and arrays 8 deep."),
    ("depth-8-twice", '{"a":' + nested("[", "]", 7, "1") + ',"b":' + nested("[", "]", 7, "1") + "}",
     "Depth is counted anew for the next member."),
    ("depth-in-string", '{"a":"' + "[{" * 100 + '"}', "Brackets in a string are no depth."),
]

TEXTS = [  # not one object
    ("empty", "", "No payload at all."),
    ("blank", "  ", "Blanks only."),
    ("array", "[]", "An array."),
    ("array-of-object", '[{"id":"42"}]', "An array around an object."),
    ("string", '"{}"', "A string."),
    ("number", "42", "A number."),
    ("true", "true", "A literal."),
    ("null", "null", "Null."),
    ("objects-joined", '{"id":"42"}{"id":"43"}', "Two objects."),
    ("objects-by-line", '{"id":"42"}\n{"id":"43"}', "Two objects on two lines."),
    ("trailing-letter", '{"id":"42"}x', "A letter behind the object."),
    ("trailing-comma", '{"id":"42"},', "A comma behind the object."),
    ("trailing-brace", '{"id":"42"}}', "A brace too many."),
    ("trailing-nul", '{"id":"42"}\0', "A NUL behind the object."),
    ("leading-nul", '\0{"id":"42"}', "A NUL before the object."),
    ("bom", '\ufeff{"id":"42"}', "A byte order mark."),
    ("form-feed", '\f{"id":"42"}', "A form feed is no blank of JSON."),
    ("no-break-space", '{"id":\u00a0"42"}', "A no-break space is no blank of JSON."),
    ("comment", '{"id":"42"/* who */}', "A comment."),
    ("comment-line", '{"id":"42"}//', "A comment behind the object."),
    ("unclosed", '{"id":"42"', "No closing brace."),
    ("unclosed-key", '{"id', "A key that doesn't end."),
    ("unclosed-string", '{"id":"42}', "A string that doesn't end."),
    ("unclosed-array", '{"id":["42"}', "An array that doesn't end."),
    ("crossed", '{"id":[{]}}', "Brackets that cross."),
    ("comma-last", '{"id":"42",}', "A comma before the closing brace."),
    ("comma-first", '{,"id":"42"}', "A comma behind the opening brace."),
    ("comma-twice", '{"id":"42",,"a":1}', "Two commas."),
    ("comma-missing", '{"id":"42" "a":1}', "No comma between members."),
    ("comma-in-array", '{"id":[1,]}', "A comma before the closing bracket."),
    ("comma-in-empty-array", '{"id":[,]}', "A comma in an empty array."),
    ("colon-missing", '{"id" "42"}', "No colon."),
    ("colon-twice", '{"id"::"42"}', "Two colons."),
    ("value-missing", '{"id":}', "No value."),
    ("key-missing", '{:"42"}', "No key."),
    ("key-alone", '{"id"}', "A key without a value."),
    ("key-unquoted", '{id:"42"}', "A key without quotes."),
    ("key-number", '{1:"42"}', "A number as key."),
    ("key-null", '{null:"42"}', "A literal as key."),
    ("single-quotes", "{'id':'42'}", "Single quotes."),
    ("literal-case", '{"a":True}', "A literal in another case."),
    ("literal-short", '{"a":tru}', "A literal cut short."),
    ("literal-long", '{"a":nulll}', "A literal with a letter more."),
    ("undefined", '{"a":undefined}', "A word that JSON doesn't have."),
    ("python", "{'a': None}", "Python's spelling."),
    ("json5", '{a:1,/**/b:+2,}', "JSON5."),
]

NUMBERS = [
    ("leading-zero", "01"), ("leading-zero-negative", "-01"), ("double-zero", "00"), ("plus", "+1"),
    ("minus-alone", "-"), ("minus-twice", "--1"), ("minus-apart", "- 1"), ("point-first", ".5"),
    ("point-last", "1."), ("point-twice", "1.2.3"), ("point-then-exponent", "1.e5"), ("exponent-empty", "1e"),
    ("exponent-sign-only", "1e+"), ("exponent-point", "1e5.5"), ("exponent-twice", "1e5e5"), ("hex", "0x10"),
    ("underscore", "1_000"), ("comma", "1,5"), ("fullwidth", "\uff11"), ("nan", "NaN"), ("infinity", "Infinity"),
    ("minus-infinity", "-Infinity"), ("bigint", "1n"),
]

STRINGS = [  # the inside of a string value
    ("line-feed", "x\ny", "A raw line feed."),
    ("tab", "x\ty", "A raw tab."),
    ("nul", "x\0y", "A raw NUL."),
    ("control", "x\x1fy", "The last of the control characters."),
    ("escape-unknown", r"\x41", "An escape that JSON doesn't have."),
    ("escape-quote", r"\'", "An escaped single quote."),
    ("escape-line", "\\\n", "An escaped line end."),
    ("escape-capital", r"\U0041", "A capital U."),
    ("escape-short", r"\u12", "An escape of two digits."),
    ("escape-no-hex", r"\u12g4", "An escape with a letter that is no digit."),
    ("escape-sign", r"\u+041", "An escape with a sign in it."),
    ("escape-braces", r"\u{41}", "An escape of another language."),
    ("escape-last", "\\", "The string's end is escaped."),
    ("lone-high", r"\ud800", "A high surrogate alone."),
    ("lone-low", r"\udc00", "A low surrogate alone."),
    ("high-letter", r"\ud800A", "A high surrogate before a letter."),
    ("high-escape", r"\ud800\u0041", "A high surrogate before an escape that is none."),
    ("high-other-escape", r"\ud800\n", "A high surrogate before a short escape."),
    ("high-high", r"\ud800\ud800", "Two high surrogates."),
    ("low-high", r"\udc00\ud800", "A low surrogate before a high one."),
    ("low-low", r"\udc00\udc00", "Two low surrogates."),
    ("pair-then-low", r"\ud83d\ude00\ude00", "A low surrogate behind a pair."),
    ("noncharacter", "\uffff", "The noncharacter U+FFFF (RFC 7493, 2.1)."),
    ("noncharacter-arabic", "\ufdd0", "The noncharacter U+FDD0."),
    ("noncharacter-plane", "\U0001fffe", "The noncharacter U+1FFFE."),
    ("noncharacter-escaped", r"\uFFFE", "An escaped noncharacter."),
    ("noncharacter-pair", r"\udbff\udfff", "The noncharacter U+10FFFF in two escapes."),
]

BYTES = [  # the inside of a string value, not UTF-8
    ("byte-ff", "ff", "A byte that UTF-8 never has."),
    ("continuation", "80", "A continuation byte alone."),
    ("cut-character", "e282", "A character cut short."),
    ("overlong-nul", "c080", "NUL in two bytes, as Java writes it."),
    ("overlong-slash", "e080af", "A slash in three bytes."),
    ("surrogate", "eda080", "A surrogate in three bytes."),
    ("surrogate-pair", "eda0bdedb880", "A character beyond U+FFFF in six bytes."),
    ("beyond-unicode", "f4908080", "U+110000."),
    ("five-bytes", "f888808080", "A character in five bytes."),
    ("latin-1", "e9", "Latin-1."),
]

DUPLICATES = [
    ("plain", '{"id":"42","id":"43"}', "One key twice."),
    ("same-value", '{"id":"42","id":"42"}', "One key twice with the same value."),
    ("apart", '{"id":"42","a":{"b":[1,2,{"c":3}]},"id":"43"}', "One key twice with an object between."),
    ("empty-key", '{"":1,"":2}', "The empty key twice."),
    ("escaped", r'{"id":"42","\u0069d":"43"}', "One key plain and escaped."),
    ("escaped-first", r'{"\u0069\u0064":"42","id":"43"}', "One key escaped and plain."),
    ("escaped-twice", r'{"\u00e9":1,"\u00E9":2}', "One key in two spellings of one escape."),
    ("escaped-letter", '{"\u00e9":1,"\\u00e9":2}', "One key beyond ASCII plain and escaped."),
    ("escaped-pair", '{"\U0001f600":1,"\\ud83d\\ude00":2}', "One key plain and as two surrogates."),
    ("escaped-slash", r'{"a/b":1,"a\/b":2}', "One key with a slash, bare and escaped."),
    ("escaped-quote", r'{"\"":1,"\u0022":2}', "One key that is a quote, in two escapes."),
    ("escaped-short", r'{"\n":1,"\u000a":2}', "One key in the short and the long escape."),
    ("nested", '{"a":{"b":1,"b":2}}', "One key twice in an inner object."),
    ("in-array", '{"a":[{"b":1},{"b":1,"b":2}]}', "One key twice in an object of an array."),
    ("deep", '{"a":' * 7 + '{"b":1,"b":2}' + "}" * 7, "One key twice at depth 8."),
    ("around-nested", '{"a":1,"b":{"a":2},"a":3}', "One key twice, and once more inside."),
    ("proto", '{"__proto__":1,"__proto__":2}', "One key twice that some languages swallow."),
    ("many-first", "{" + numbered(250) + ',"0":1}', "The first of 250 keys once more."),
    ("many-last", "{" + numbered(250) + ',"249":1}', "The last of 250 keys once more."),
    ("many-24th", "{" + numbered(250) + ',"23":1}', "The 24th of 250 keys once more."),
    ("many-25th", "{" + numbered(250) + ',"24":1}', "The 25th of 250 keys once more."),
]

DEPTH = [
    ("9-objects", nested('{"a":', "}", 8, "{}"), "Objects 9 deep."),
    ("9-arrays", '{"a":' + nested("[", "]", 8) + "}", "An object and arrays 9 deep."),
    ("9-mixed", nested('{"a":[', "]}", 4, "{}"), "Objects and arrays by turns, 9 deep."),
    ("9-late", '{"a":1,"b":[],"c":' + nested("[", "]", 8) + "}", "9 deep in the third member."),
    ("abyss", '{"a":' + nested("[", "]", 1500) + "}", "As deep as a token can be, and closed."),
    ("abyss-unclosed", '{"a":' + "[" * 3014, "As deep as a token can be, and not closed."),
    ("abyss-of-objects", '{"a":' * 603, "As deep as objects can be in a token."),
]


def refused():
    """All that isn't one strict object."""
    yield from TEXTS
    yield from ((f"number-{name}", '{"a":' + text + "}", f"The number `{text}`.") for name, text in NUMBERS)
    yield from ((f"string-{name}", '{"a":"' + text + '"}', about) for name, text, about in STRINGS)
    yield ("string-lone-key", r'{"\ud800":1}', "A surrogate alone in a key.")
    yield ("string-noncharacter-key", '{"\ufffe":1}', "A noncharacter in a key.")
    yield from ((f"utf8-{name}", b'{"a":"' + bytes.fromhex(text) + b'"}', about) for name, text, about in BYTES)
    yield ("utf8-in-key", b'{"\xff":1}', "A key that isn't UTF-8.")
    yield ("utf16", '{"id":"42"}'.encode("utf-16-le"), "UTF-16.")
    yield from ((f"twice-{name}", text, about) for name, text, about in DUPLICATES)
    yield from ((f"depth-{name}", text, about) for name, text, about in DEPTH)
