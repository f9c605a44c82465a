// Package bulla opens and seals Bulla's tokens with keys from `bulla keys export`, on the standard library alone.
//
// Read it in this order: wire.go (the layout), suite.go (the ciphers), strict.go (the JSON that is accepted), keys.go
// (open and seal), export.go (what is read), keyfile.go (an export that is followed), openers.go (several exports), bearer.go (net/http).
package bulla
