"""Which tools can stand side by side in a toolbox. Takes tools and the price sheet; raises `BadTool` in words.

The decision for a tool is the likelihood of its opening, `<tool_call>{"name": "k` without the closing quote (DESIGN 4).
So no tool's name, as tokens, may begin another's: the opening of `get` would also be the beginning of every call to
`get_item`, and its probability would be counted twice. Tokens that spell one text can only begin tokens that spell a
text which begins with it; so where no *name* begins another, no tokenizer can make them clash, and none is needed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from components.tools.function_tool import BadTool
from components.tools.prices import PriceSheet


def check_names(names: Sequence[str]) -> None:
    """Raises `BadTool` naming the two tools when two have one name, or one's name begins the other's."""
    for first, second in combinations(sorted(names), 2):
        if first == second:
            raise BadTool(f"two tools have the name {first!r}: rename one of them")
        if second.startswith(first):
            reason = (
                "their first tokens are the same, so deciding for one could not be told from deciding for the other"
            )
            raise BadTool(f"the tool name {first!r} begins the tool name {second!r}: {reason}. Rename one of them")


def check_prices(names: Iterable[str], prices: PriceSheet) -> None:
    """Raises `BadTool` naming the first tool that has no line in the price sheet."""
    for name in names:
        if name not in prices.settings.tools:
            example = f"{name}: {{money: 0, seconds: 0.1}}"
            raise BadTool(f"prices.tools has no entry for {name!r}: say what a call costs, as in {example}")
