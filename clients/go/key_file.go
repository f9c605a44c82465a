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

// KeyFile has the keys of an export file and reads the file again when it changes. Each use reads the file's state from
// the file system (about a microsecond), so a new export is in force at once. If the new export is invalid, missing, or
// of another purpose or audience, the last good one stays in force, Fault returns the reason, and the reason is logged
// once. A KeyFile may be used by several goroutines at once.
type KeyFile struct {
	path string
	// Held by the goroutine that reads a new export.
	reading sync.Mutex
	now     atomic.Pointer[loaded]
}

// loaded is the result of the last look at the file.
type loaded struct {
	keys  *Keys
	fault error
	// nil after an error that may disappear while the file's state stays the same, so that the next use reads again.
	file fs.FileInfo
}

// NewKeyFile fails if the file is not a valid export.
func NewKeyFile(path string) (*KeyFile, error) {
	k := &KeyFile{path: path}
	// The state is taken before the file is read, so that a change during the read is seen at the next use.
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
	// Calls that come while the new file is being read use the last good keys.
	if !same(file, err, k.now.Load().file) && k.reading.TryLock() {
		defer k.reading.Unlock()
		k.reload()
	}
	return k.now.Load().keys
}

// Purpose returns the purpose of the tokens. It stays the same for the life of a KeyFile.
func (k *KeyFile) Purpose() string { return k.now.Load().keys.purpose }

// Fault returns the reason why the current file is not in force, or nil if it is in force.
func (k *KeyFile) Fault() error { return k.now.Load().fault }

// Open opens a token with the keys in force now; see Keys.Open.
func (k *KeyFile) Open(token string, now time.Time) (Opened, error) { return k.Keys().Open(token, now) }

// Seal seals a payload with the keys in force now; see Keys.Seal.
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
		err = BadExport("it has another purpose or audience than before")
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
