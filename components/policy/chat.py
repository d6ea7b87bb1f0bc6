"""From states to token ids. Takes a tokenizer and states; gives the exact ids the model reads. Samples nothing.

Segments are encoded separately and joined, so that a stored turn keeps its tokens for ever (DESIGN 3.3): the text of an
assistant turn is never encoded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from components.schema.message import Message
from components.schema.tool import ToolSpec
from components.schema.trajectory import State
from components.tools.grammar import CALL_OPENING, tool_turn, user_turn


class Chat:
    """A tokenizer with the chat format of the model."""

    def __init__(self, tokenizer: Any) -> None:
        """`tokenizer` is a Hugging Face fast tokenizer. ChatML markers where it has them, else plain labels."""
        self.tokenizer = tokenizer
        chatml = tokenizer.convert_tokens_to_ids("<|im_start|>") not in (None, tokenizer.unk_token_id)
        if chatml:
            self._user, self._assistant, self._close = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n"
            self.end_id = int(tokenizer.convert_tokens_to_ids("<|im_end|>"))
        else:
            self._user, self._assistant, self._close = "User: ", "Assistant: ", "\n"
            self.end_id = int(tokenizer.eos_token_id)
        self.encode = lru_cache(maxsize=65536)(self._encode)
        self.call_opening = self.encode(CALL_OPENING)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids without the chat markers."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def cut(self, text: str, budget: int) -> str:
        """The longest prefix of `text` of at most `budget` tokens."""
        ids = self.encode(text)
        return text if len(ids) <= budget else self.decode(ids[:budget])

    def prompt_ids(self, prompt: str, specs: Sequence[ToolSpec], price: float | None = None) -> tuple[int, ...]:
        """Ids of the opening user turn, up to where the assistant begins."""
        return self.encode(f"{self._user}{user_turn(prompt, specs, price)}{self._close}{self._assistant}")

    def message_ids(self, message: Message) -> tuple[int, ...]:
        """Ids that a finished turn of the assistant, a tool's result or a further user turn adds to the context."""
        if message.role == "assistant":
            assert message.token_ids is not None, "an assistant turn without its tokens cannot be rendered"
            closed = message.token_ids[-1:] == (self.end_id,)
            return message.token_ids + self.encode(self._close.removeprefix("<|im_end|>") if closed else self._close)
        said = message.content if message.role == "user" else tool_turn(message.content)
        return self.encode(f"{self._user}{said}{self._close}{self._assistant}")

    def context_ids(self, state: State, specs: Sequence[ToolSpec]) -> tuple[int, ...]:
        """Everything the model reads at this state."""
        ids = self.prompt_ids(state.messages[0].content, specs, state.problem.price)
        for message in state.messages[1:]:
            ids += self.message_ids(message)
        return ids
