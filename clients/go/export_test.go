package bulla

import (
	"bytes"
	"strings"
	"testing"
)

func TestWhatIsNoExportIsRefused(t *testing.T) {
	good, ring := file(line(1, "active", "xaes-256-gcm")), line(1, "active", "xaes-256-gcm")
	if keys := parse(t, good); keys.Audience() != "billing" || keys.Purpose() != "access" {
		t.Fatal(keys)
	}
	keys := func(lines ...object) object { return good.with("keys", lines) }
	bad := [][]byte{
		nil, []byte("[]"), []byte("null"), good.json(t)[1:], append([]byte("\ufeff"), good.json(t)...), []byte("{\"\xff\":1}"),
		bytes.Replace(good.json(t), []byte("{"), []byte(`{"version":1,`), 1),
		bytes.Replace(good.json(t), []byte(`"version"`), []byte(`"Version"`), 1),
	}
	for _, changed := range []object{
		good.with("version", 2), good.with("version", true), good.with("version", "1"), good.with("version", 1.5),
		good.with("purpose", "Access"), good.with("purpose", "access\n"), good.with("purpose", ""), good.with("audience", "-"),
		good.with("audience", nil), good.with("max_age", -1), good.with("max_age", "120"), good.with("max_age", 0.5),
		good.with("max_age", 1e30), good.with("not_before", nil), good.with("not_before", uint64(1)<<63), good.with("keys", object{}),
		good.with("keys", []int{1}), good.with("more", 1), keys(ring, line(1, "staged", "xaes-256-gcm")),
		keys(ring, line(2, "active", "xaes-256-gcm")), keys(line(1, "revoked", "xaes-256-gcm")), keys(ring.with("more", 1)),
		keys(ring.with("suite", "aes-128-gcm")), keys(ring.with("kid", "0000000A")), keys(ring.with("kid", "1")),
		keys(ring.with("key", 1)), keys(ring.with("key", strings.Repeat("A", 42)+"B")), keys(ring.with("key", strings.Repeat("A", 44))),
		keys(ring.with("key", strings.Repeat("A", 43)+"\n")),
	} {
		bad = append(bad, changed.json(t))
	}
	for missing := range good {
		changed := good.with(missing, nil)
		delete(changed, missing)
		bad = append(bad, changed.json(t))
	}
	for _, text := range bad {
		_, err := ParseKeys(text)
		if _, ok := err.(BadExport); !ok || strings.Contains(err.Error(), ring["key"].(string)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheEnvironmentHoldsAnExportInOneLine(t *testing.T) {
	good := file(line(1, "active", "xaes-256-gcm")).json(t)
	t.Setenv(Variable, encode(good))
	if keys, err := KeysFromEnv(); err != nil || keys.Audience() != "billing" {
		t.Error(err)
	}
	for _, value := range []string{"", "e", string(good), encode([]byte{0xff, 0xff}), encode(good) + "=", encode(good) + "\n"} {
		t.Setenv(Variable, value)
		if _, err := KeysFromEnv(); err == nil {
			t.Errorf("taken: %q", value)
		}
	}
}
