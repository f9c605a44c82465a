package bulla

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWhatWasSealedOpensUntilItIsTooOld(t *testing.T) {
	forSuites(t, func(t *testing.T, suite string) {
		keys := one(t, suite)
		token := seal(t, keys, `{"id":"42","big":123456789012345678901}`, now)
		for _, at := range []time.Duration{0, -time.Minute, 119_999 * time.Millisecond} {
			opened, err := keys.Open(token, now.Add(at))
			if err != nil || string(opened.Text) != `{"id":"42","big":123456789012345678901}` || opened.Kid != "00000001" {
				t.Fatal(at, err, opened)
			}
			if !opened.IssuedAt.Equal(now) || opened.Payload["id"] != "42" || opened.Payload["big"] != json.Number("123456789012345678901") {
				t.Fatal(opened)
			}
		}
		for at, expected := range map[time.Duration]string{-60_001 * time.Millisecond: "future", 2 * time.Minute: "expired"} {
			if said := reason(t, keys, token, now.Add(at)); said != expected {
				t.Error(at, said)
			}
		}
		later := parse(t, file(line(1, "active", suite)).with("not_before", now.UnixMilli()+1))
		if said := reason(t, later, token, now); said != "not_before" {
			t.Error(said)
		}
	})
}

func TestEachTokenHasANonceOfItsOwn(t *testing.T) {
	forSuites(t, func(t *testing.T, suite string) {
		keys, tokens := one(t, suite), map[string]bool{}
		for i := 0; i < 100; i++ {
			tokens[seal(t, keys, "{}", now)] = true
		}
		if len(tokens) != 100 {
			t.Error(len(tokens))
		}
	})
}

func TestAMutatedByteOpensNowhere(t *testing.T) {
	forSuites(t, func(t *testing.T, suite string) {
		keys := one(t, suite)
		token := seal(t, keys, `{"id":"42"}`, now)
		for at := range token {
			for _, other := range []string{"A", "B", "-", "+", "=", "\n", "\r", "\x00", "é", "\xff"} {
				if other != token[at:at+1] {
					reason(t, keys, token[:at]+other+token[at+1:], now)
				}
			}
		}
		for _, other := range []string{token + "=", token + "\n", token + "\r\n", " " + token, token[:len(token)-1], token + token, ""} {
			reason(t, keys, other, now)
		}
	})
}

func TestATokenIsSealedUnderTheActiveKeyAlone(t *testing.T) {
	forSuites(t, func(t *testing.T, suite string) {
		all := parse(t, file(line(1, "staged", suite), line(2, "active", suite), line(3, "retired", suite)))
		token := seal(t, all, "{}", now)
		for _, state := range []string{"staged", "retired"} {
			keys := parse(t, file(line(2, state, suite)))
			if opened, err := keys.Open(token, now); err != nil || opened.Kid != "00000002" {
				t.Error(state, err)
			}
			if _, err := keys.Seal([]byte("{}"), now); err != ErrNoActiveKey {
				t.Error(state, err)
			}
		}
	})
}

func TestASuiteThatIsNotSupportedSpoilsNothingElse(t *testing.T) {
	keys := parse(t, file(line(1, "active", "xaes-256-gcm"), line(2, "staged", "xchacha20-poly1305")))
	if _, err := keys.Open(seal(t, keys, "{}", now), now); err != nil {
		t.Error(err)
	}
	if said := reason(t, keys, encode(append([]byte{0x6e, 0xe9, 0x42, 0, 0, 0, 2}, make([]byte, 60)...)), now); said != "unsupported" {
		t.Error(said)
	}
	if _, err := one(t, "xchacha20-poly1305").Seal([]byte("{}"), now); err != ErrUnsupported {
		t.Error(err)
	}
}

func TestWhatIsNoStrictObjectIsNotSealed(t *testing.T) {
	keys := one(t, "xaes-256-gcm")
	for _, payload := range []string{
		"", " ", "[]", "null", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":NaN}`, `{"a":"\ud800"}`, "\ufeff{}", "{}\xff",
		`{"\"}":1,"\"}":2}`, `{"\/":1,"/":2}`, `{"\b":1,"\u0008":2}`, `{"\n":1,"\u000a":2}`, `{"a":[[[[[[[[]]]]]]]]}`, "{\"a\":\"\xff\"}",
		`{"\ud83d\ude00":1,"😀":2}`, `{"a":"\ud83d\ud83d\ude00"}`, `{"a":"\ufffe"}`, "{\"a\":\"\uffff\"}", `{"a":"\ud83f\udfff"}`,
	} {
		if _, err := keys.Seal([]byte(payload), now); err != ErrPayload {
			t.Errorf("%q: %v", payload, err)
		}
	}
	for _, payload := range []string{`{"a":1,"A":2}`, `{"\ufffd":"\ud83d\ude00"}`, `{"a":[[[[[[[]]]]]]]}`, `{"a":"[[[[[[[[[\"{"}`} {
		seal(t, keys, payload, now)
	}
}

func TestATokenHasAtMost4096Characters(t *testing.T) {
	forSuites(t, func(t *testing.T, suite string) {
		keys := one(t, suite)
		room := 4096*3/4 - header - suites[suite].nonce - issuedAt - tag - len(`{"a":""}`)
		token := seal(t, keys, `{"a":"`+strings.Repeat("x", room)+`"}`, now)
		if _, err := keys.Open(token, now); err != nil || len(token) > 4096 {
			t.Error(err, len(token))
		}
		if _, err := keys.Seal([]byte(`{"a":"`+strings.Repeat("x", room+1)+`"}`), now); err != ErrTooLong {
			t.Error(err)
		}
		for _, at := range []int64{-1, 1 << 48} {
			if _, err := keys.Seal([]byte("{}"), time.UnixMilli(at)); err != ErrTime {
				t.Error(at, err)
			}
		}
	})
}

func TestSuiteAStopsAt2To32(t *testing.T) {
	before := new(atomic.Uint64)
	before.Store(maxUnderA - 1)
	sealed.Store("00000003", before)
	keys := parse(t, file(line(3, "active", "aes-256-gcm")))
	seal(t, keys, "{}", now)
	if _, err := keys.Seal([]byte("{}"), now); err != ErrExhausted {
		t.Error(err)
	}
	seal(t, parse(t, file(line(3, "active", "xaes-256-gcm"))), "{}", now)
}

func TestNoKeyShowsInWhatGoPrints(t *testing.T) {
	keys := one(t, "xaes-256-gcm")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, value := range []any{keys, *keys} {
			if said := fmt.Sprintf(verb, value); said != `bulla.Keys("access", "billing")` {
				t.Error(verb, said)
			}
		}
	}
}

// The two published test cases of C2SP XAES-256-GCM, one for each branch of the doubling.
func TestThePublishedCasesOfXaesOpen(t *testing.T) {
	for _, published := range []struct {
		key            byte
		header, sealed string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		sealed, _ := hex.DecodeString(published.sealed)
		aead := newXaes([]byte(strings.Repeat(string([]byte{published.key}), 32)))
		text, err := aead.Open(nil, []byte("ABCDEFGHIJKLMNOPQRSTUVWX"), sealed, []byte(published.header))
		if err != nil || string(text) != "XAES-256-GCM" {
			t.Error(published.key, err)
		}
	}
}
