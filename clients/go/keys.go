package bulla

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// How far the sealer's clock may be ahead of the opener's, in milliseconds.
	skew = 60_000
	// The most tokens that a process seals under one AES-256-GCM key. Beyond this number, a collision of random nonces is
	// no longer negligible.
	maxUnderA = 1 << 32
)

// sealed counts the tokens that this process has sealed, by kid (string to *atomic.Uint64). A reload does not reset it.
var sealed sync.Map

// Refused says that a token was refused. Its message is the same for every reason. Its value, the reason, is for metrics
// and trace logs only: length, encoding, magic, unknown_key, suite, unsupported (by this library), tag, future, expired,
// not_before, payload, purpose (the token is valid, but the caller does not admit its purpose: for example a machine's
// token if only people are admitted), or missing (the request has no token).
type Refused string

func (Refused) Error() string { return "token refused" }

// The reasons why a payload was not sealed.
var (
	ErrPayload     = errors.New("the payload is not one strict JSON object (RFC 7493, at most 8 levels deep)")
	ErrTooLong     = errors.New("the payload is too long: the token would exceed 4096 characters")
	ErrExhausted   = errors.New("this AES-256-GCM key has sealed 2^32 tokens; roll over with `bulla keys rotate`")
	ErrNoActiveKey = errors.New("there is no active key to seal with")
	ErrUnsupported = errors.New("suite not supported")
	ErrTime        = errors.New("the time is out of range")
)

// Opened is the content of a verified token.
type Opened struct {
	// Payload has its numbers as json.Number.
	Payload map[string]any
	// Text is the payload as it was sealed. Take care when you unmarshal it into a struct: encoding/json matches names to
	// fields without regard to case.
	Text     []byte
	Kid      string
	IssuedAt time.Time
	// Purpose and Audience are those of the export that opened the token. The purpose `access` is a person's token,
	// `service` a machine's token.
	Purpose, Audience string
}

// Keys are the keys of an export: derived keys, the maximum age of a token, and the time before which no token is valid.
// Immutable. A holder of the keys can open and forge tokens of this purpose and audience, and no other tokens.
type Keys struct {
	purpose, audience string
	maxAge            uint64
	notBefore         int64
	keys              map[string]key
	active            string
}

type key struct {
	suite *suite
	// nil if this library does not support the suite.
	aead cipher.AEAD
}

// Purpose returns the purpose of the tokens.
func (k *Keys) Purpose() string { return k.purpose }

// Audience returns the audience of the tokens, which is the service that may open them.
func (k *Keys) Audience() string { return k.audience }

// Format prints no key, with any verb.
func (k Keys) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "bulla.Keys(%q, %q)", k.purpose, k.audience)
}

// Open opens a token; the error is Refused.
func (k *Keys) Open(token string, now time.Time) (Opened, error) {
	bytes, err := read(token)
	if err != nil {
		return Opened{}, err
	}
	head := bytes[:header]
	kid := hex.EncodeToString(head[magic:])
	key, known := k.keys[kid]
	if !known {
		return Opened{}, Refused("unknown_key")
	}
	if key.suite.magic != token[:4] {
		return Opened{}, Refused("suite")
	}
	textAt := header + key.suite.nonce
	if len(bytes) < textAt+issuedAt+tag {
		return Opened{}, Refused("length")
	}
	if key.aead == nil {
		return Opened{}, Refused("unsupported")
	}
	clear, err := key.aead.Open(nil, bytes[header:textAt], bytes[textAt:], head)
	if err != nil {
		return Opened{}, Refused("tag")
	}
	var issued int64
	for _, b := range clear[:issuedAt] {
		issued = issued<<8 | int64(b)
	}
	if err := k.judgeAge(issued, now.UnixMilli()); err != nil {
		return Opened{}, err
	}
	text := clear[issuedAt:]
	payload, err := strictObject(text)
	if err != nil {
		return Opened{}, Refused("payload")
	}
	return Opened{payload, text, kid, time.UnixMilli(issued), k.purpose, k.audience}, nil
}

func (k *Keys) judgeAge(issued, now int64) error {
	switch {
	case issued-skew > now:
		return Refused("future")
	// The age is compared in seconds, rounded down, so that no product can overflow.
	case now >= issued && uint64(now-issued)/1000 >= k.maxAge:
		return Refused("expired")
	case issued < k.notBefore:
		return Refused("not_before")
	}
	return nil
}

// read checks length, spelling and magic of a token.
func read(token string) ([]byte, error) {
	if len(token) < minChars || len(token) > maxChars {
		return nil, Refused("length")
	}
	bytes, ok := decode(token)
	if !ok {
		return nil, Refused("encoding")
	}
	for _, suite := range suites {
		if suite.magic == token[:4] {
			return bytes, nil
		}
	}
	return nil, Refused("magic")
}

// Seal seals the text of a JSON object under the active key. The nonce is new, from the system's random generator.
func (k *Keys) Seal(payload []byte, now time.Time) (string, error) {
	key, known := k.keys[k.active]
	if !known {
		return "", ErrNoActiveKey
	}
	if key.aead == nil {
		return "", ErrUnsupported
	}
	textAt := header + key.suite.nonce
	if (textAt+issuedAt+len(payload)+tag)*4 > maxChars*3 {
		return "", ErrTooLong
	}
	if _, err := strictObject(payload); err != nil {
		return "", ErrPayload
	}
	issued := now.UnixMilli()
	if issued < 0 || issued >= 1<<48 {
		return "", ErrTime
	}
	if key.suite.magic == "bulA" {
		count, _ := sealed.LoadOrStore(k.active, new(atomic.Uint64))
		if count.(*atomic.Uint64).Add(1) > maxUnderA {
			return "", ErrExhausted
		}
	}
	bytes, _ := decode(key.suite.magic)
	kid, _ := hex.DecodeString(k.active)
	bytes = append(append(bytes, kid...), make([]byte, key.suite.nonce)...)
	if _, err := rand.Read(bytes[header:]); err != nil {
		return "", err
	}
	clear := make([]byte, issuedAt, issuedAt+len(payload))
	for at := range clear {
		clear[at] = byte(issued >> (8 * (issuedAt - 1 - at)))
	}
	return encode(key.aead.Seal(bytes, bytes[header:], append(clear, payload...), bytes[:header])), nil
}
