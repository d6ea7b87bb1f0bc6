"""Signatures of model payloads: who wrote a model, where digests only tell that it is whole.

Takes a payload's digest and keys as `ssh-keygen -t ed25519` writes them; gives a signature, or whether one is good.
Whoever can write to the registry and to the store of files can forge digests, but not these. Knows no folder, registry
or settings.
"""

from __future__ import annotations

import base64
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


def is_signed(digest: str, signature: str, trusted: Sequence[str]) -> bool:
    """Whether one of the `trusted` keys made this signature of this digest.

    Raises:
        BadKey: one of the keys is not an ed25519 public key.
    """
    keys = [_public_key(line) for line in trusted]
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    return any(_made(key, raw, digest) for key in keys)


def _made(key: Ed25519PublicKey, signature: bytes, digest: str) -> bool:
    try:
        key.verify(signature, _PURPOSE + digest.encode())
    except InvalidSignature:
        return False
    return True


def _public_key(line: str) -> Ed25519PublicKey:
    """The key of one line, as in a `.pub` file."""
    try:
        key = load_ssh_public_key(line.strip().encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(
            f"{line[:40]!r} is not a public key as `ssh-keygen` writes it (`ssh-ed25519 AAAA... who`)"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadKey(f"{line[:40]!r} is not an ed25519 key: {_HOW}")
    return key
