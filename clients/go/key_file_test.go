package bulla

import (
	"bytes"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".next", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// exports returns an export, the export after a rollover, and a token under the active key of each.
func exports(t *testing.T) (old, fresh []byte, oldToken, freshToken string) {
	first := file(line(1, "active", "xaes-256-gcm"))
	second := file(line(2, "active", "xaes-256-gcm"), line(1, "retired", "xaes-256-gcm"))
	at := time.Now()
	return first.json(t), second.json(t), seal(t, parse(t, first), "{}", at), seal(t, parse(t, second), "{}", at)
}

func follow(t *testing.T, path string) *KeyFile {
	t.Helper()
	keys, err := NewKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func opens(t *testing.T, keys *KeyFile, token string) bool {
	t.Helper()
	_, err := keys.Open(token, time.Now())
	return err == nil
}

func TestANewExportIsInForceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "billing.keys.json")
	old, fresh, oldToken, freshToken := exports(t)
	replace(t, path, old)
	keys := follow(t, path)
	if !opens(t, keys, oldToken) || opens(t, keys, freshToken) {
		t.Error("before")
	}
	replace(t, path, fresh)
	if !opens(t, keys, oldToken) || !opens(t, keys, freshToken) {
		t.Error("behind")
	}
	token, err := keys.Seal([]byte("{}"), time.Now())
	if opened, _ := keys.Open(token, time.Now()); err != nil || opened.Kid != "00000002" {
		t.Error(opened, err)
	}
	replace(t, path, file(line(2, "active", "xaes-256-gcm")).json(t))
	if opens(t, keys, oldToken) {
		t.Error("a key that is gone opens")
	}
}

func TestAFileWrittenInPlaceAndALinkThatMovesAreSeen(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "billing.keys.json")
	old, fresh, _, freshToken := exports(t)
	replace(t, path, old)
	keys := follow(t, path)
	if err := os.WriteFile(path, fresh, 0o600); err != nil || !opens(t, keys, freshToken) {
		t.Error(err)
	}
	// As Kubernetes mounts secrets: through a symbolic link to a directory.
	for name, text := range map[string][]byte{"old": old, "new": fresh} {
		if err := os.Mkdir(filepath.Join(home, name), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(home, name, "keys"), text)
	}
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("old", "data")
	keys = follow(t, filepath.Join(home, "data", "keys"))
	link("new", "next")
	if err := os.Rename(filepath.Join(home, "next"), filepath.Join(home, "data")); err != nil || !opens(t, keys, freshToken) {
		t.Error(err)
	}
}

func TestTheLastGoodExportStaysInForce(t *testing.T) {
	var said bytes.Buffer
	log.SetOutput(&said)
	defer log.SetOutput(os.Stderr)
	path := filepath.Join(t.TempDir(), "billing.keys.json")
	old, _, token, _ := exports(t)
	replace(t, path, old)
	keys := follow(t, path)
	good := file(line(1, "active", "xaes-256-gcm"))
	broken := [][]byte{nil, old[1:], []byte("<html>"), good.with("purpose", "service").json(t), good.with("audience", "shop").json(t)}
	for _, text := range broken {
		replace(t, path, text)
		for i := 0; i < 3; i++ {
			if !opens(t, keys, token) || keys.Fault() == nil {
				t.Errorf("%s: %v", text, keys.Fault())
			}
		}
		replace(t, path, old)
		if !opens(t, keys, token) || keys.Fault() != nil {
			t.Errorf("mended: %v", keys.Fault())
		}
	}
	if lines := strings.Count(said.String(), "\n"); lines != len(broken) {
		t.Error(said.String())
	}
}

func TestAFileThatGoesAwayIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "billing.keys.json")
	old, fresh, token, _ := exports(t)
	replace(t, path, old)
	keys := follow(t, path)
	check := func(change error, fault bool) {
		t.Helper()
		if change != nil || !opens(t, keys, token) || (keys.Fault() != nil) != fault {
			t.Error(change, keys.Fault())
		}
	}
	check(os.Remove(path), true)
	check(os.Mkdir(path, 0o700), true)
	check(os.Remove(path), true)
	check(syscall.Mkfifo(path, 0o600), true)
	check(os.Remove(path), true)
	replace(t, path, fresh)
	check(nil, false)
}

func TestThereIsAGoodExportToBeginWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "billing.keys.json")
	if _, err := NewKeyFile(path); !os.IsNotExist(err) {
		t.Error(err)
	}
	replace(t, path, []byte("{}"))
	if _, err := NewKeyFile(path); err == nil {
		t.Error("taken")
	}
}

func TestManyGoroutinesFollowOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "billing.keys.json")
	old, fresh, token, _ := exports(t)
	replace(t, path, old)
	keys := follow(t, path)
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for j := 0; j < 200; j++ {
				if !opens(t, keys, token) {
					t.Error("refused")
				}
			}
		}()
	}
	for i := 0; i < 20; i++ {
		replace(t, path, [][]byte{fresh, old}[i%2])
	}
	all.Wait()
}
