"""The `search` tool over HTTP, for SearXNG and engines that speak its JSON. Off by default.

Takes the address of an instance and a guarded client; gives the k best results in the form of the local engine. A
time-out, an HTTP error or broken JSON is a result with `is_error`. Follows no redirects and fetches no result pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.schema.identity import stable_hash
from components.tools.guarded_http import UNREADABLE, GuardedClient, HttpFault
from components.tools.search_index import NO_RESULTS
from components.tools.spec import SEARCH_SPEC, Cut, ToolOutput, ToolSpec

SEARCH_BYTES = 4 * 2**20
"""Bytes of an answer at most."""


class SearxngTool:
    """Asks `GET {url}/search?q=...&format=json`."""

    def __init__(self, url: str, client: GuardedClient, *, k: int, cut: Cut, result_tokens: int) -> None:
        self._url = f"{url.rstrip('/')}/search"
        self._client = client
        self._k, self._cut, self._result_tokens = k, cut, result_tokens
        self.version = stable_hash(["searxng", self._url, k, result_tokens])

    @property
    def spec(self) -> ToolSpec:
        """`search(query)`."""
        return SEARCH_SPEC

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The results as one line each, or the reason why there are none."""
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            return ToolOutput("Error: the query is empty.", is_error=True)
        try:
            results = _results(self._client.fetch("GET", self._url, params={"q": query, "format": "json"}))
        except HttpFault as fault:
            # It may pass, so it is not remembered.
            told = fault.told("the search engine")
            return ToolOutput(told, is_error=True, cacheable=False, refused=fault.refused)
        return self._output(results[: self._k])

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _output(self, results: list[Mapping[str, str]]) -> ToolOutput:
        lines = [self._cut(f"[{found['title']}] {found['content']}", self._result_tokens) for found in results]
        ids = tuple(found["url"] for found in results)
        return ToolOutput("\n".join(lines) or NO_RESULTS, is_error=False, source_ids=ids)


def _results(body: bytes) -> list[Mapping[str, str]]:
    """Title, content and url of every result, white space squeezed; HttpFault when the body is something else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise HttpFault(f"{UNREADABLE} it is not JSON") from None
    found = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise HttpFault(f"{UNREADABLE} it has no list `results`")
    rows = [row for row in found if isinstance(row, dict)]
    return [{name: " ".join(str(row.get(name) or "").split()) for name in ("title", "content", "url")} for row in rows]
