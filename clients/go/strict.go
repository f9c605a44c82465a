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

// strictObject reads one strict JSON object (RFC 7493): no duplicate keys, no surrogates alone or noncharacters, at most
// 8 deep. The errors quote nothing. Numbers are json.Number, names are exact: encoding/json would fit them to a struct's
// fields without regard to case.
//
// The grammar is encoding/json's affair; what that replaces or lets pass without a word is found by a scan.
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

// scan goes through the strings and brackets of valid JSON.
func scan(text []byte) error {
	// The names of the objects that are open, innermost last; nil for an array.
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

// unquote reads the string whose first character is at; it returns what it says, and where it ends behind its quote.
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

// unescape reads one escape; two that are a pair of surrogates are one.
func unescape(text []byte) (rune, int) {
	if text[1] != 'u' {
		// json.Valid has seen that it is one of them.
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

// hex4 reads four digits that json.Valid has seen.
func hex4(text []byte) rune {
	number, _ := strconv.ParseUint(string(text[:4]), 16, 16)
	return rune(number)
}
