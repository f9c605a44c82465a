package bulla

import "encoding/base64"

// The layout of a token, byte by byte (docs/token.md):
//
//	base64url( magic 3 | kid 4 | nonce 24 or 12 | ciphertext of (issued_at 6 | payload) | tag 16 )
const (
	minChars = 58
	maxChars = 4096
	magic    = 3
	header   = 7
	issuedAt = 6
	tag      = 16
)

func encode(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}

// decode returns the bytes of base64url text in its only valid spelling. Go's decoder ignores CR and LF and, unless
// strict, accepts unused bits. Therefore the result is encoded again and compared.
func decode(text string) ([]byte, bool) {
	bytes, err := base64.RawURLEncoding.DecodeString(text)
	return bytes, err == nil && encode(bytes) == text
}
