"""API keys. Takes the keys that are let in; says whether a request carries one. Reads no file and no environment."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from components.serving.errors import Refused


class Keys:
    """The keys; none lets everybody in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def check(self, authorization: str | None) -> None:
        """Nothing, when the header carries one of the keys.

        Raises:
            Refused: it does not.
        """
        if not self._keys:
            return
        scheme, _, given = (authorization or "").partition(" ")
        offered = given.strip().encode()
        # all are compared, each in constant time, so that the time taken tells nothing
        matches = [hmac.compare_digest(offered, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            raise Refused(401, "no valid API key: send `Authorization: Bearer KEY`", code="invalid_api_key")
