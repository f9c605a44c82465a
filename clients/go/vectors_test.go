package bulla

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Runs every case of tests/vectors; the README there describes their format.

type vector struct {
	Name    string
	Export  json.RawMessage
	Now     int64
	Token   string
	Payload *string
	Refused string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	paths, err := filepath.Glob("../../tests/vectors/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := make([]vector, len(paths))
	for i, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &all[i])
		}
		if err != nil {
			t.Fatal(path, err)
		}
	}
	return all
}

// expected returns the expected result. XChaCha20-Poly1305 is unsupported here, so only the checks before the cipher
// give the reason of the vector.
func (v vector) expected() string {
	before := strings.Contains(" length encoding magic unknown_key suite ", " "+v.Refused+" ")
	switch {
	case strings.HasPrefix(v.Token, "bulC") && !before:
		return "refused: unsupported"
	case v.Payload != nil:
		return *v.Payload
	}
	return "refused: " + v.Refused
}

func TestEveryVectorOpensOrIsRefusedForTheReasonItSays(t *testing.T) {
	for _, v := range vectors(t) {
		keys, err := ParseKeys(v.Export)
		if err != nil {
			t.Fatal(v.Name, err)
		}
		opened, err := keys.Open(v.Token, time.UnixMilli(v.Now))
		said := string(opened.Text)
		if err != nil {
			said = "refused: " + string(err.(Refused))
		}
		if said != v.expected() {
			t.Errorf("%s: %.80s, not %.80s", v.Name, said, v.expected())
		}
	}
}

func TestTheVectorsAreAllThere(t *testing.T) {
	all, supported, suites := vectors(t), 0, map[string]int{}
	for _, v := range all {
		suites[strings.Split(v.Name, "-")[0]]++
		if v.expected() != "refused: unsupported" {
			supported++
		}
	}
	t.Logf("%d vectors, %d of them judged in full: %v", len(all), supported, suites)
	if len(all) < 320 || supported < 500 || suites["x"] < 60 || suites["a"] < 60 || suites["c"] < 60 {
		t.Error("vectors are missing")
	}
}
