"""The `search` tool over HTTP, for SearXNG and engines that speak its JSON. Off by default.

Takes the address of an instance (http or https); gives the k best results in the form of the local engine. A time-out,
an HTTP error or broken JSON is a result with `is_error`. Follows no redirects and fetches no result pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from components.schema.identity import stable_hash
from components.tools.search_index import NO_RESULTS
from components.tools.spec import SEARCH_SPEC, Cut, ToolOutput, ToolSpec

_MOST_BYTES = 4 * 2**20


class SearxngTool:
    """Asks `GET {url}/search?q=...&format=json`."""

    def __init__(self, url: str, *, k: int, cut: Cut, result_tokens: int, timeout: float = 8.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"a search engine's address must start with http:// or https://, got {url!r}")
        self._url = f"{url.rstrip('/')}/search"
        self._k, self._cut, self._result_tokens, self._timeout = k, cut, result_tokens, timeout
        self._client = httpx.Client(timeout=timeout, follow_redirects=False)
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
            body = self._fetch(query)
            results = _results(body)
        except httpx.TimeoutException:
            return _failure(f"TimeoutError: the search engine gave no answer within {self._timeout:g} s.")
        except httpx.HTTPStatusError as error:
            return _failure(f"Error: the search engine answered HTTP {error.response.status_code}.")
        except httpx.HTTPError as error:
            return _failure(f"Error: the search engine cannot be reached ({type(error).__name__}).")
        except ValueError as error:
            return _failure(f"Error: the search engine's answer cannot be read: {error}.")
        return self._output(results[: self._k])

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _fetch(self, query: str) -> bytes:
        """The answer's body, read up to a limit so that a hostile server cannot fill the memory."""
        body = bytearray()
        with self._client.stream("GET", self._url, params={"q": query, "format": "json"}) as response:
            if response.is_redirect:
                raise ValueError("it is a redirect")
            response.raise_for_status()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
        return bytes(body)

    def _output(self, results: list[Mapping[str, str]]) -> ToolOutput:
        lines = [self._cut(f"[{found['title']}] {found['content']}", self._result_tokens) for found in results]
        ids = tuple(found["url"] for found in results)
        return ToolOutput("\n".join(lines) or NO_RESULTS, is_error=False, source_ids=ids)


def _results(body: bytes) -> list[Mapping[str, str]]:
    """Title, content and url of every result, white space squeezed; ValueError when the body is something else."""
    try:
        answer = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    found = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ValueError("it has no list `results`")
    rows = [row for row in found if isinstance(row, dict)]
    return [{name: " ".join(str(row.get(name) or "").split()) for name in ("title", "content", "url")} for row in rows]


def _failure(reason: str) -> ToolOutput:
    """A failure that may pass, so it is not remembered."""
    return ToolOutput(reason, is_error=True, cacheable=False)
