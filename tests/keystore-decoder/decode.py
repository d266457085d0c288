"""Opens a sealed keystore, written from docs/keystore-format.md alone; prints it as JSON, secrets included.

    decode.py FILE (--key-file FILE | --passphrase-file FILE)
              [--decrypt KEY_STORE KEY CIPHERTEXT IV TAG METADATA AAD]

A FILE that ends in .hex is hexadecimal. The operands of --decrypt are hexadecimal too; AAD is what AES-GCM is given.
Needs the PyPI packages cryptography and argon2-cffi. For tests: it locks no memory and wipes nothing.
"""

import argparse
import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KINDS = {1: "passphrase", 2: "key-file", 3: "systemd-credential"}
MATERIAL = {1: "XAES-256-GCM", 2: "AES-256-GCM import"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        taken = self.data[self.at : self.at + length]
        if len(taken) != length:
            raise ValueError(f"ends too early, at {len(self.data)}")
        self.at += length
        return taken

    def number(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0]

    def short(self):
        return self.take(self.number("B"))

    def text(self):
        return self.short().decode("ascii")


def root_key(kind, params, options):
    """What the seal gives: 32 bytes."""
    if kind == 1:
        from argon2.low_level import Type, hash_secret_raw

        salt, memory, passes, lanes = struct.unpack(">16sIII", params)
        passphrase = pathlib.Path(options.passphrase_file).read_bytes().rstrip(b"\r\n")
        return hash_secret_raw(passphrase, salt, passes, memory, lanes, 32, Type.ID, 0x13)
    if kind == 4:
        raise ValueError("sealed by a key in an HSM, which only that HSM opens")
    content = pathlib.Path(options.key_file).read_bytes()
    return content if len(content) == 32 else bytes.fromhex(content.decode("ascii").strip())


def open_sealed(data, options):
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise ValueError("damaged: the checksum is wrong")
    reader = Reader(data)
    if reader.take(8) != b"HOLDFAST" or reader.number("H") != 1:
        raise ValueError("no keystore of format 1")
    kind = reader.number("B")
    params = reader.short()
    keystore_id = reader.take(16)
    wrap_aad = data[: reader.at]
    generation, flags = reader.number("Q"), reader.number("B")
    wrap_nonce, wrapped_key = reader.take(12), reader.take(48)
    nonce, length = reader.take(12), reader.number("I")
    aad = data[: reader.at]
    contents = reader.take(length + 16)
    if len(data) - reader.at != 32:
        raise ValueError("something between the contents and the checksum")

    label = b"holdfast keystore 1: key encryption key"
    key_encryption_key = hmac.digest(root_key(kind, params, options), label + keystore_id, "sha256")
    data_key = AESGCM(key_encryption_key).decrypt(wrap_nonce, wrapped_key, wrap_aad)
    return {
        "id": keystore_id.hex(),
        "generation": generation,
        "erasing": bool(flags & 1),
        "seal": KINDS[kind],
        "key_stores": read_contents(AESGCM(data_key).decrypt(nonce, contents, aad)),
    }


def read_contents(data):
    reader = Reader(data)
    stores = {}
    for _ in range(reader.number("H")):
        name = reader.text()
        store = {"test_key": read_key(reader), "keys": {}, "credentials": {}}
        for _ in range(reader.number("I")):
            key_id = reader.text()
            store["keys"][key_id] = read_key(reader)
        for _ in range(reader.number("H")):
            access_key_id = reader.text()
            store["credentials"][access_key_id] = {"secret": reader.text(), "created": reader.number("Q")}
        stores[name] = store
    if reader.at != len(data):
        raise ValueError("something after the last key store")
    return stores


def read_key(reader):
    usage, status, created = reader.number("B"), reader.number("B"), reader.number("Q")
    versions = []
    for _ in range(reader.number("H")):
        version = {"number": reader.number("I"), "kind": MATERIAL[reader.number("B")]}
        versions.append(version | {"created": reader.number("Q"), "material": reader.take(32).hex()})
    return {
        "usage": [name for bit, name in ((1, "encrypt"), (2, "decrypt")) if usage & bit],
        "status": ["disabled", "enabled"][status],
        "created": created,
        "versions": versions,
    }


def decrypt(key, ciphertext, iv, tag, metadata, aad):
    """XAES-256-GCM as https://c2sp.org/XAES-256-GCM describes it."""
    form, number, context = struct.unpack(">BI12s", metadata)
    if form != 1:
        raise ValueError("unknown format of ciphertext metadata")
    version = next(version for version in key["versions"] if version["number"] == number)
    block = Cipher(algorithms.AES(bytes.fromhex(version["material"])), modes.ECB()).encryptor()
    doubled = int.from_bytes(block.update(bytes(16)), "big") << 1
    k1 = (doubled ^ 0x87 if doubled >> 128 else doubled) & (1 << 128) - 1
    halves = [int.from_bytes(bytes([0, i]) + b"X\0" + context, "big") ^ k1 for i in (1, 2)]
    message_key = b"".join(block.update(half.to_bytes(16, "big")) for half in halves)
    return AESGCM(message_key).decrypt(iv, ciphertext + tag, aad)


def main():
    parser = argparse.ArgumentParser(description="Opens a sealed keystore and prints it, secrets included.")
    parser.add_argument("file")
    parser.add_argument("--key-file")
    parser.add_argument("--passphrase-file")
    parser.add_argument("--decrypt", nargs=7, metavar="OPERAND")
    options = parser.parse_args()
    data = pathlib.Path(options.file).read_bytes()
    keystore = open_sealed(bytes.fromhex(data.decode("ascii")) if options.file.endswith(".hex") else data, options)
    if options.decrypt:
        store, key_id, *operands = options.decrypt
        key = keystore["key_stores"][store]["keys"][key_id]
        keystore["decrypted"] = decrypt(key, *map(bytes.fromhex, operands)).hex()
    json.dump(keystore, sys.stdout, indent=2)
    print()


main()
