package bulla

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// The keys of a test ring.

var now = time.UnixMilli(1_700_000_000_000)

type object map[string]any

func line(number byte, state, suite string) object {
	secret := encode(bytes.Repeat([]byte{number}, 32))
	return object{"kid": fmt.Sprintf("%08x", number), "state": state, "suite": suite, "key": secret}
}

// with returns a copy of the object with one member changed.
func (o object) with(name string, value any) object {
	changed := object{name: value}
	for other, before := range o {
		if other != name {
			changed[other] = before
		}
	}
	return changed
}

func file(lines ...object) object {
	return object{"version": 1, "purpose": "access", "audience": "billing", "max_age": 120, "not_before": 0, "keys": lines}
}

func (o object) json(t *testing.T) []byte {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parse(t *testing.T, file object) *Keys {
	t.Helper()
	keys, err := ParseKeys(file.json(t))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func one(t *testing.T, suite string) *Keys {
	t.Helper()
	return parse(t, file(line(1, "active", suite)))
}

func seal(t *testing.T, keys *Keys, payload string, at time.Time) string {
	t.Helper()
	token, err := keys.Seal([]byte(payload), at)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// reason opens a token that must be refused, and returns the reason.
func reason(t *testing.T, keys *Keys, token string, at time.Time) string {
	t.Helper()
	opened, err := keys.Open(token, at)
	refused, ok := err.(Refused)
	if !ok || err.Error() != "token refused" || opened.Text != nil || opened.Payload != nil {
		t.Fatalf("%q: %v, %v", token, err, opened)
	}
	return string(refused)
}

func forSuites(t *testing.T, test func(t *testing.T, suite string)) {
	for _, suite := range []string{"xaes-256-gcm", "aes-256-gcm"} {
		t.Run(suite, func(t *testing.T) { test(t, suite) })
	}
}
