package bulla

import (
	"crypto/aes"
	"crypto/cipher"
)

const half = 12

// suite has the magic of its tokens, the length of a nonce in bytes, and the constructor of the AEAD; nil if the standard
// library does not have the cipher.
type suite struct {
	magic string
	nonce int
	aead  func(key []byte) cipher.AEAD
}

var suites = map[string]*suite{
	"xaes-256-gcm":       {"bulX", 2 * half, newXaes},
	"aes-256-gcm":        {"bulA", half, newGCM},
	"xchacha20-poly1305": {"bulC", 2 * half, nil},
}

func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("bulla: keys have 32 bytes: " + err.Error())
	}
	return block
}

func newGCM(key []byte) cipher.AEAD {
	aead, err := cipher.NewGCM(newBlock(key))
	if err != nil {
		panic("bulla: AES has blocks of 16 bytes: " + err.Error())
	}
	return aead
}

// xaes is XAES-256-GCM (C2SP): AES-256-GCM under a key that CMAC derives from the first half of the nonce.
type xaes struct {
	block cipher.Block
	// K1 of CMAC (NIST SP 800-38B).
	mask [aes.BlockSize]byte
}

func newXaes(key []byte) cipher.AEAD {
	x := &xaes{block: newBlock(key)}
	var top [aes.BlockSize]byte
	x.block.Encrypt(top[:], top[:])
	// Doubling in GF(2^128); no branch depends on the key.
	carry := top[0] >> 7 * 0b1000_0111
	for i := len(top) - 1; i >= 0; i-- {
		x.mask[i] = top[i]<<1 ^ carry
		carry = top[i] >> 7
	}
	return x
}

func (x *xaes) derive(nonce []byte) cipher.AEAD {
	var key [2 * aes.BlockSize]byte
	for i := byte(0); i < 2; i++ {
		block := key[i*aes.BlockSize:][:aes.BlockSize]
		copy(block, []byte{0, i + 1, 'X', 0})
		copy(block[4:], nonce[:half])
		for at := range block {
			block[at] ^= x.mask[at]
		}
		x.block.Encrypt(block, block)
	}
	return newGCM(key[:])
}

func (x *xaes) NonceSize() int { return 2 * half }
func (x *xaes) Overhead() int  { return tag }

func (x *xaes) Seal(dst, nonce, text, header []byte) []byte {
	return x.derive(nonce).Seal(dst, nonce[half:], text, header)
}

func (x *xaes) Open(dst, nonce, sealed, header []byte) ([]byte, error) {
	return x.derive(nonce).Open(dst, nonce[half:], sealed, header)
}
