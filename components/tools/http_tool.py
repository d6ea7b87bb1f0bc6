"""A tool behind an HTTP address. Takes its settings and a guarded client; gives outputs that a policy can read.

The arguments go as a JSON body (POST) or as query parameters (GET), never into the address. What comes back is text:
the whole answer, or the part of a JSON answer that the settings name, cut to a budget, without the secrets that were
sent. Every failure is an output with `is_error` that names neither address nor headers. Retries nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from components.schema.identity import stable_hash
from components.schema.tool import ToolSpec
from components.tools.guarded_http import UNREADABLE, GuardedClient, HttpFault
from components.tools.own_settings import HttpToolSettings
from components.tools.secrets import fill_in, hide, variables_in
from components.tools.spec import Cut, ToolOutput

_STEP = re.compile(r"[\w-]+")


class HttpTool:
    """One service."""

    def __init__(
        self,
        settings: HttpToolSettings,
        client: GuardedClient,
        *,
        secrets: Mapping[str, str],
        cut: Cut,
        result_tokens: int,
    ) -> None:
        """`secrets`: values of the variables that the headers name."""
        self._settings, self._client, self._cut, self._result_tokens = settings, client, cut, result_tokens
        self._headers = fill_in(settings.headers, secrets)
        self._secrets = tuple(secrets[name] for name in variables_in(settings.headers.values()))
        function = settings.function
        self.spec = ToolSpec(function.name, function.description, function.parameters)
        self.version = stable_hash(["http", settings.model_dump(mode="json"), result_tokens])

    def call(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """The service's answer, or why there is none."""
        try:
            body = self._fetch(arguments)
            found = _read(body, self._settings.result)
        except HttpFault as fault:
            told = fault.told(self.spec.name)
            return ToolOutput(told, is_error=True, cacheable=False, refused=fault.refused)
        return ToolOutput(self._cut(hide(found, self._secrets), self._result_tokens), is_error=False)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _fetch(self, arguments: Mapping[str, Any]) -> bytes:
        settings = self._settings
        return self._client.fetch(
            settings.method,
            settings.url,
            params=_query(arguments) if settings.method == "GET" else None,
            json=dict(arguments) if settings.method == "POST" else None,
            headers=self._headers,
            content_types=settings.content_types,
        )


def _query(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as they are, lists repeated, anything else as JSON; what is null is left out."""
    return {name: _query_value(value) for name, value in arguments.items() if value is not None}


def _query_value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_query_value(item) for item in value]
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _read(body: bytes, path: str | None) -> str:
    """The answer's text, or what its JSON holds at `path`."""
    try:
        text = body.decode("utf-8")
        return text.strip() if path is None else _part(json.loads(text), path)
    except UnicodeDecodeError:
        raise HttpFault(f"{UNREADABLE} it is not UTF-8") from None
    except (ValueError, RecursionError):  # a number of 5000 digits is a ValueError too
        raise HttpFault(f"{UNREADABLE} it is not JSON") from None


def _part(value: Any, path: str) -> str:
    for step in _STEP.findall(path):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            raise HttpFault(f"gave an answer without {path}") from None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
