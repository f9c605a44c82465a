// Package bulla opens and seals Bulla's tokens with keys from `bulla keys export`. It needs only the standard library.
//
// Read the files in this order: wire.go (the layout), suite.go (the ciphers), payload.go (the accepted JSON), keys.go
// (open and seal), export.go (reading an export), key_file.go (an export file that is reloaded), openers.go (several
// exports), bearer.go (net/http).
package bulla
