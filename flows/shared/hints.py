"""Tells a running Prefect server that annotations came: an event others may act on, never the truth.

Takes the project's paths and figures; gives lines for a person. Works through the plain HTTP API, so that adding rows
does not pay for importing Prefect; a server that is not there, or refuses, changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import httpx

from flows.shared.paths import Paths
from flows.shared.prefect_server import reachable

EVENT = "qanat.annotations.added"
RESOURCE = "qanat.annotations"
SECONDS = 2.0


def hint(paths: Paths, *, rows: int, file: str) -> list[str]:
    """Emit the event where a server answers; a line when one is there and did not take it."""
    url = reachable(paths)
    if url is None:
        return []
    event = {
        "occurred": datetime.now(UTC).isoformat(),
        "event": EVENT,
        "resource": {"prefect.resource.id": RESOURCE},
        "payload": {"rows": rows, "file": file},
        "id": str(uuid4()),
    }
    try:
        httpx.post(f"{url}/events", json=[event], timeout=SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        return [f"the Prefect server was not told ({error}): `qanat watch` sees the rows anyway"]
    return []
