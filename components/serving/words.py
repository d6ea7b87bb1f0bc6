"""Tokens as they come, as text that never changes again. Takes tokens; gives what may be shown of them so far.

The end of what was written is held back while it may still change: white space, which a finished answer does not end
with, and characters of which only some bytes are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.policy.chat import Chat

HALF = "\ufffd"
"""What a decoder puts in place of half a character."""


class Words:
    """One answer being written."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._ids: list[int] = []
        self._shown = ""

    def more(self, ids: Sequence[int]) -> str:
        """What can be shown beyond what was shown before."""
        self._ids.extend(ids)
        return self._show(self._chat.decode(self._ids).strip().rstrip(HALF))

    def rest(self, whole: str) -> str:
        """What was held back of the whole answer."""
        return self._show(whole)

    def _show(self, text: str) -> str:
        if not text.startswith(self._shown):
            return ""
        new, self._shown = text[len(self._shown) :], text
        return new
