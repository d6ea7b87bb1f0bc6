"""Signatures: a digest's own, by a key that is trusted, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from signing_keys import new_key

from components.records.signing import BadKey, is_signed, sign

DIGEST = "ab" * 32


def test_a_signature_is_good_by_any_key_that_is_trusted(tmp_path: Path) -> None:
    ann, bob = new_key(tmp_path / "ann", who="ann of training"), new_key(tmp_path / "bob", who="")
    assert is_signed(DIGEST, sign(DIGEST, tmp_path / "ann"), [bob, ann])
    assert is_signed(DIGEST, sign(DIGEST, tmp_path / "bob"), [bob, ann])


def test_another_key_another_payload_or_no_key_is_nobody(tmp_path: Path) -> None:
    ann, bob = new_key(tmp_path / "ann", who="ann"), new_key(tmp_path / "bob", who="bob")
    signature = sign(DIGEST, tmp_path / "ann")
    assert not is_signed(DIGEST, signature, [bob])
    assert not is_signed(DIGEST[:-1] + "c", signature, [ann])
    assert not is_signed(DIGEST, signature, [])


@given(st.text())
def test_what_is_no_signature_is_nobodys(text: str) -> None:
    line = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    trusted = line.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert not is_signed(DIGEST, text, [trusted])


def test_a_key_that_cannot_sign_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(BadKey, match=r"key: No such file.*ssh-keygen -t ed25519"):
        sign(DIGEST, file)
    file.write_text("my secret\n")
    with pytest.raises(BadKey, match="not an OpenSSH private key") as caught:
        sign(DIGEST, file)
    assert "my secret" not in str(caught.value)
    rsa = generate_private_key(65537, 2048)
    file.write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    with pytest.raises(BadKey, match="not an ed25519 key"):
        sign(DIGEST, file)
    public = rsa.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    with pytest.raises(BadKey, match="not an ed25519 key"):
        is_signed(DIGEST, "", [public])
    for line in ("ssh-ed25519 AAAA nobody", "ssh-unheard-of AAAA nobody", ""):
        with pytest.raises(BadKey, match="not a public key"):
            is_signed(DIGEST, "", [line])
