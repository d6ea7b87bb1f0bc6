"""Signatures of versions: given when a payload is registered, asked for before a version is promoted or served.

Takes versions and `mlflow/registry.yaml`; gives tags, or raises. What is signed is the payload's digest, so a signature
is good for these files and no others, under whatever number they are registered. Without `trusted_keys` nothing is
asked for.
"""

from __future__ import annotations

from components.records.signing import BadKey, is_signed, sign
from flows.shared.faults import UserFault
from flows.shared.paths import Paths
from flows.shared.registry import Version
from flows.shared.registry_settings import RegistrySettings

SIGNATURE_TAG = "payload.signature"


class Unsigned(UserFault):
    """Nobody who is trusted signed the version."""


def signature_tags(paths: Paths, settings: RegistrySettings, digest: str) -> dict[str, str]:
    """The tag of a payload that is registered here; none without a key to sign with."""
    if settings.signing_key is None:
        return {}
    desk = paths.store.resolve().parent  # a workspace signs with the desk's key
    try:
        return {SIGNATURE_TAG: sign(digest, desk / settings.signing_key)}
    except BadKey as error:
        raise UserFault(f"mlflow/registry.yaml: signing_key: {error}") from None


def require_signature(version: Version, settings: RegistrySettings) -> None:
    """Raises `Unsigned` where keys are trusted and none of them signed the version's digest."""
    if not settings.trusted_keys:
        return
    signature = version.tags.get(SIGNATURE_TAG)
    if signature is None:
        raise Unsigned(
            f"version {version.number} is not signed (tag {SIGNATURE_TAG}), and mlflow/registry.yaml names "
            "trusted_keys: set signing_key where models are trained, and register it again"
        )
    try:
        good = is_signed(version.digest, signature, settings.trusted_keys)
    except BadKey as error:
        raise UserFault(f"mlflow/registry.yaml: trusted_keys: {error}") from None
    if not good:
        raise Unsigned(
            f"version {version.number}: its signature is of none of the trusted_keys (mlflow/registry.yaml), or of "
            "another payload"
        )
