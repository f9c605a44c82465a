package bulla

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const maxDepth = 8

// strictObject reads one strict JSON object (RFC 7493): no duplicate keys, no unpaired surrogates, no noncharacters, at
// most 8 levels deep. The errors quote nothing from the text. Numbers are json.Number. Names are exact, whereas
// encoding/json would match them to a struct's fields without regard to case.
//
// encoding/json checks the grammar; a scan finds the errors that it replaces or accepts silently.
func strictObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	if first := bytes.TrimLeft(text, " \t\n\r"); first[0] != '{' {
		return nil, errors.New("not an object")
	}
	if err := scan(text); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, errors.New("not JSON")
	}
	return object, nil
}

// scan checks the strings and the brackets of valid JSON.
func scan(text []byte) error {
	// The names in each open object, the innermost last; nil for an array.
	var open []map[string]bool
	for at := 0; at < len(text); at++ {
		switch text[at] {
		case '{':
			open = append(open, map[string]bool{})
		case '[':
			open = append(open, nil)
		case '}', ']':
			open = open[:len(open)-1]
		case '"':
			content, end, err := unquote(text, at+1)
			if err != nil {
				return err
			}
			if rest := bytes.TrimLeft(text[end:], " \t\n\r"); len(rest) > 0 && rest[0] == ':' {
				names := open[len(open)-1]
				if names[content] {
					return errors.New("a key stands twice")
				}
				names[content] = true
			}
			at = end - 1
		}
		if len(open) > maxDepth {
			return errors.New("too deep")
		}
	}
	return nil
}

// unquote reads the string whose first character is at `at`; it returns the content and the index after the closing quote.
func unquote(text []byte, at int) (string, int, error) {
	var content []rune
	for text[at] != '"' {
		r, size := utf8.DecodeRune(text[at:])
		if r == '\\' {
			r, size = unescape(text[at:])
		}
		if utf16.IsSurrogate(r) || unicode.Is(unicode.Noncharacter_Code_Point, r) {
			return "", 0, errors.New("a surrogate alone, or a noncharacter")
		}
		content = append(content, r)
		at += size
	}
	return string(content), at + 1, nil
}

// unescape reads one escape; an escaped surrogate pair is one character.
func unescape(text []byte) (rune, int) {
	if text[1] != 'u' {
		// json.Valid has checked that it is one of them.
		return rune("\"\\/\b\f\n\r\t"[bytes.IndexByte([]byte(`"\/bfnrt`), text[1])]), 2
	}
	first := hex4(text[2:])
	if utf16.IsSurrogate(first) && len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		if pair := utf16.DecodeRune(first, hex4(text[8:])); pair != unicode.ReplacementChar {
			return pair, 12
		}
	}
	return first, 6
}

// hex4 reads four hexadecimal digits that json.Valid has checked.
func hex4(text []byte) rune {
	number, _ := strconv.ParseUint(string(text[:4]), 16, 16)
	return rune(number)
}
