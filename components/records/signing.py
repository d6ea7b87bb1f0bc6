"""Signatures of model payloads: who wrote a model, where digests only tell that it is whole.

Takes a payload's digest and keys as `ssh-keygen -t ed25519` writes them; gives a signature, or the comment of the key
that made one. Whoever can write to the registry and to the store of files can forge digests, but not these. Knows no
folder, registry or settings.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

_PURPOSE = b"qanat model payload 1\0"
"""Before what is signed, so that a signature for another purpose with the same key proves nothing here."""
_HOW = "make one with `ssh-keygen -t ed25519 -N '' -f FILE`"


class BadKey(ValueError):  # noqa: N818 - says what is found
    """A key cannot be used; the message says which and why, never what is in it."""


def sign(digest: str, key_file: Path) -> str:
    """The signature of the digest, base64.

    Raises:
        BadKey: the file is not there or holds no ed25519 key without passphrase.
    """
    try:
        key = load_ssh_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise BadKey(f"{key_file}: {error.strerror or error}: {_HOW}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(f"{key_file}: not an OpenSSH private key without passphrase: {_HOW}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{key_file}: not an ed25519 key: {_HOW}")
    return base64.b64encode(key.sign(_PURPOSE + digest.encode())).decode()


def signer(digest: str, signature: str, trusted: Sequence[str]) -> str | None:
    """The key among `trusted`, by its comment or place, that made this signature of this digest; None: none did.

    Raises:
        BadKey: one of the keys is not an ed25519 public key.
    """
    keys = [public_key(line) for line in trusted]
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return None
    for number, (key, line) in enumerate(zip(keys, trusted, strict=True), start=1):
        try:
            key.verify(raw, _PURPOSE + digest.encode())
        except InvalidSignature:
            continue
        return " ".join(line.split()[2:]) or f"key {number}"
    return None


def public_key(line: str) -> Ed25519PublicKey:
    """The key of one line, as in a `.pub` file.

    Raises:
        BadKey: it is not an ed25519 public key.
    """
    try:
        key = load_ssh_public_key(line.strip().encode())
    except (ValueError, TypeError):
        raise BadKey(
            f"{line[:40]!r} is not a public key as `ssh-keygen` writes it (`ssh-ed25519 AAAA... who`)"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"{line[:40]!r} is not an ed25519 key: {_HOW}")
    return key
