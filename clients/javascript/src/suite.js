/** The AEADs, with keys imported once: AES-256-GCM, and XAES-256-GCM (C2SP), which is composed from it. */

import { TAG, join } from "./wire.js";

const HALF = 12;

/** A key of suite A. `open` rejects if the tag, which always has 16 bytes, is wrong. */
class AesGcm {
  #key;

  static async of(bytes) {
    const aead = new AesGcm();
    aead.#key = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
    return aead;
  }

  async seal(iv, text, additionalData) {
    return new Uint8Array(await crypto.subtle.encrypt(parameters(iv, additionalData), this.#key, text));
  }

  async open(iv, sealed, additionalData) {
    return new Uint8Array(await crypto.subtle.decrypt(parameters(iv, additionalData), this.#key, sealed));
  }
}

function parameters(iv, additionalData) {
  return { name: "AES-GCM", iv, additionalData, tagLength: TAG * 8 };
}

/** A key of suite X: AES-256-GCM under a key that CMAC derives from the first half of the nonce. */
class XaesGcm {
  #key;
  #mask;

  static async of(bytes) {
    const aead = new XaesGcm();
    aead.#key = await crypto.subtle.importKey("raw", bytes, "AES-CTR", false, ["encrypt"]);
    // K1 of CMAC (NIST SP 800-38B): doubling in GF(2^128).
    const top = await aead.#block(new Uint8Array(16));
    aead.#mask = top.map((byte, i) => (byte << 1) | ((top[i + 1] ?? 0) >> 7));
    aead.#mask[15] ^= (top[0] >> 7) * 0b1000_0111;
    return aead;
  }

  async seal(nonce, text, header) {
    return (await this.#derive(nonce)).seal(nonce.subarray(HALF), text, header);
  }

  async open(nonce, sealed, header) {
    return (await this.#derive(nonce)).open(nonce.subarray(HALF), sealed, header);
  }

  async #derive(nonce) {
    const half = (i) => {
      const block = join([0, i, "X".charCodeAt(0), 0], nonce.subarray(0, HALF));
      return this.#block(block.map((byte, at) => byte ^ this.#mask[at]));
    };
    return AesGcm.of(join(await half(1), await half(2)));
  }

  /** Encrypts one block with AES alone: WebCrypto's CTR mode applied to zeros. */
  async #block(counter) {
    const zeros = new Uint8Array(16);
    return new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#key, zeros));
  }
}

/** Letter, nonce length in bytes, and constructor of the AEAD; null if WebCrypto does not have the cipher. */
export const SUITES = new Map([
  ["xaes-256-gcm", { letter: "X", nonce: 24, aead: XaesGcm.of }],
  ["aes-256-gcm", { letter: "A", nonce: 12, aead: AesGcm.of }],
  ["xchacha20-poly1305", { letter: "C", nonce: 24, aead: null }],
]);
