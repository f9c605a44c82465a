package bulla

import (
	"errors"
	"io/fs"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// KeyFile has the keys of an export file, and reads it again when the file changes. Each use asks the file system for
// the file's state (about a microsecond), so that a new export is in force at once. If the new one is broken, missing,
// or of another purpose or audience, the last good one stays in force, Fault says why, and it is logged once. For use by
// any number of goroutines.
type KeyFile struct {
	path string
	// Held by whoever reads a new export.
	reading sync.Mutex
	now     atomic.Pointer[loaded]
}

// loaded is what a look at the file has come to.
type loaded struct {
	keys  *Keys
	fault error
	// nil if what went wrong may be gone the next time, though the file's state is the same.
	file fs.FileInfo
}

// NewKeyFile fails if there is no good export to begin with.
func NewKeyFile(path string) (*KeyFile, error) {
	k := &KeyFile{path: path}
	// Looked at before it is read: what is written meanwhile is read the next time.
	file, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	keys, err := k.read()
	if err != nil {
		return nil, err
	}
	k.now.Store(&loaded{keys, nil, file})
	return k, nil
}

// Keys returns the keys in force now.
func (k *KeyFile) Keys() *Keys {
	file, err := os.Stat(k.path)
	// Whoever comes while the new file is being read goes on with the last good keys.
	if !same(file, err, k.now.Load().file) && k.reading.TryLock() {
		defer k.reading.Unlock()
		k.reload()
	}
	return k.now.Load().keys
}

// Purpose says what the tokens are for; it stays the same for the life of a KeyFile.
func (k *KeyFile) Purpose() string { return k.now.Load().keys.purpose }

// Fault says why the present file is not in force; nil while it is.
func (k *KeyFile) Fault() error { return k.now.Load().fault }

// Open is Keys.Open.
func (k *KeyFile) Open(token string, now time.Time) (Opened, error) { return k.Keys().Open(token, now) }

// Seal is Keys.Seal.
func (k *KeyFile) Seal(payload []byte, now time.Time) (string, error) {
	return k.Keys().Seal(payload, now)
}

func same(file fs.FileInfo, err error, before fs.FileInfo) bool {
	return err == nil && before != nil && os.SameFile(file, before) &&
		file.ModTime().Equal(before.ModTime()) && file.Size() == before.Size()
}

func (k *KeyFile) read() (*Keys, error) {
	// Opening a FIFO would wait for a writer.
	if file, err := os.Stat(k.path); err == nil && !file.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: k.path, Err: errors.New("not a regular file")}
	}
	export, err := os.ReadFile(k.path)
	if err != nil {
		return nil, err
	}
	return ParseKeys(export)
}

func (k *KeyFile) reload() {
	before := k.now.Load()
	file, err := os.Stat(k.path)
	if err == nil && same(file, err, before.file) {
		return
	}
	keys, err := k.read()
	if err == nil && (keys.purpose != before.keys.purpose || keys.audience != before.keys.audience) {
		err = BadExport("another purpose or audience than before")
	}
	if err == nil {
		k.now.Store(&loaded{keys, nil, file})
		return
	}
	if _, bad := err.(BadExport); !bad {
		file = nil
	}
	if before.fault == nil || before.fault.Error() != err.Error() {
		log.Printf("bulla: %s: %v; the last good keys stay in force", k.path, err)
	}
	k.now.Store(&loaded{before.keys, err, file})
}
