"""Arguments under a grammar. Takes tool specs; gives matchers that say which tokens may follow. Samples nothing.

The grammar covers everything after the tool's name: `", "arguments": {...}}</tool_call>`, the object by the tool's JSON
schema (llguidance). Tokens that the grammar forces are not choices of the policy and are not trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llguidance.hf
import torch
from llguidance import LLMatcher
from torch import Tensor

from components.policy.chat import Chat
from components.schema.tool import ToolSpec
from components.tools.grammar import ARGUMENTS_OPENING, CALL_CLOSING

KEPT_GRAMMARS = 256
"""Tools whose compiled grammar is remembered; whoever serves sees tools that others bring."""


class ArgumentGrammars:
    """Compiled grammars, one a tool."""

    def __init__(self, chat: Chat, *, vocabulary: int) -> None:
        self._chat = chat
        self._vocabulary = vocabulary
        self._tokens = llguidance.hf.from_tokenizer(chat.tokenizer, n_vocab=vocabulary)
        self._compiled = lru_cache(maxsize=KEPT_GRAMMARS)(self._compile)

    def _compile(self, schema: str) -> LLMatcher:
        opening = json.dumps(ARGUMENTS_OPENING)
        matcher = LLMatcher(self._tokens, f"start: {opening} args {json.dumps(CALL_CLOSING)}\nargs: %json {schema}")
        if matcher.get_error():
            raise ValueError(f"tool schema cannot be used as a grammar: {matcher.get_error()}")
        return matcher

    def matcher(self, spec: ToolSpec) -> ArgumentMatcher:
        """A fresh matcher for the arguments of `spec`."""
        guidance = {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
        schema = json.dumps({**dict(spec.parameters), "x-guidance": guidance}, sort_keys=True)
        return ArgumentMatcher(self._compiled(schema).deep_copy(), self._chat, self._vocabulary)


class ArgumentMatcher:
    """Walks one call's arguments."""

    def __init__(self, matcher: LLMatcher, chat: Chat, vocabulary: int) -> None:
        self._matcher, self._chat, self._vocabulary = matcher, chat, vocabulary

    def opening(self) -> tuple[int, ...]:
        """Tokens that every call of this tool begins with after its name; consumed."""
        forced = tuple(self._matcher.compute_ff_tokens())
        self._matcher.try_consume_tokens(list(forced))
        return forced

    def take(self, token: int) -> bool:
        """Consume `token` if the grammar allows it."""
        return bool(self._matcher.try_consume_tokens([token]))

    def closing(self) -> tuple[int, ...] | None:
        """The rest of the call once it is forced to the end (may be empty); None while there is a choice left."""
        if self._matcher.is_accepting():
            return ()
        rest = self._matcher.compute_ff_bytes().decode("utf-8", errors="ignore")
        return self._chat.encode(rest) if rest.endswith(CALL_CLOSING[-1]) and self._ends(rest) else None

    def _ends(self, rest: str) -> bool:
        return CALL_CLOSING.endswith(rest) or rest.endswith(CALL_CLOSING)

    def allowed(self) -> Tensor:
        """Boolean mask [vocabulary] of the tokens that may follow."""
        words: Any = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.int32)
        bits = (words[:, None] >> torch.arange(32, dtype=torch.int32, device="cpu")[None, :]) & 1
        allowed: Tensor = bits.flatten()[: self._vocabulary].bool()
        return allowed


def written_mask(matcher: ArgumentMatcher, tokens: Sequence[int]) -> tuple[bool, ...]:
    """For a call's tokens after the name: True where the writer had a choice, False where the grammar forced it."""
    opening = matcher.opening()
    free = [False] * len(opening)
    if tuple(tokens[: len(opening)]) != opening:
        opening, free = (), []
    for token in tokens[len(opening) :]:
        if matcher.closing() is not None:
            break
        if not matcher.take(token):
            break
        free.append(True)
    return tuple(free + [False] * (len(tokens) - len(free)))
