"""What a search writes down: one row a node. Takes nothing; gives `NodeRow` and its Arrow schema, `NODE_SCHEMA`.

A tree's rows follow one another, parents first; `parent_id` gives the shape. The fields of `NodeRow` document the
columns of `nodes.parquet`. Rows with `visits` 0 are proposed actions that no simulation tried: they have a prior and
tokens, and None where only a visit could tell. Does not build rows (`components.search.rows`) or write them
(`components.search.store`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_type_hints

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node of a searched tree with the edge that leads to it."""

    tree_id: str
    node_id: str
    """Tree id and the position of each edge from the root, e.g. `3fa2/0/2`; the root's is the tree id."""
    parent_id: str | None
    """None at the root."""
    problem_id: str
    family: str
    depth: int
    """Actions from the root."""
    simulation: int | None
    """The simulation that made the node, 0 for the root; None if untried."""
    decision: str | None
    """`answer` or a tool's name; None at the root."""
    arguments: str | None
    """Arguments of the call as JSON with sorted keys; None for answers and broken turns."""
    text: str | None
    """The assistant's turn as written; None at the root."""
    token_ids: tuple[int, ...] | None
    """Tokens of that turn; None at the root, or if the policy recorded none."""
    context_tokens: int | None
    """Tokens the policy read before that turn; None at the root, or if it did not count them."""
    prior: float | None
    """P of its decision, shared by the samples of it that were written; 1 over all siblings where every decision was
    tried; None at the root."""
    draws: int | None
    """Samples of the policy that came out as this action; None at the root."""
    target: float | None
    """Improved policy (Gumbel MuZero's, Q not stretched): its share of 1 among its siblings and what might still be
    written; None at the root and where the parent has too few visits to be trusted."""
    visits: int
    """N: simulations through here, the one that made the node included."""
    value_sum: float
    """W: sum of the returns they backed up."""
    q: float | None
    """W / N; None if untried."""
    value: float | None
    """Return estimated when the node was made (exact where terminal), in [-lambda * C_max, 1]; None if untried."""
    chance: float | None
    """p-hat: estimated chance of a correct answer from here; None if untried or nothing is to come."""
    cost_to_go: float | None
    """C-hat: estimated units still to be spent; None like `chance`."""
    written_tokens: int | None
    """Tokens the policy wrote to propose the actions from here, equal ones included; None if untried."""
    open_tasks: int | None
    """Sub-tasks to be done before the problem itself is answered; None if untried."""
    cost_units: float | None
    """Units of the price sheet spent by this action; None at the root or if untried."""
    spent_units: float | None
    """Units spent from the root to here; None if untried."""
    terminal: bool | None
    """Whether the trajectory ended here; None if untried."""
    expandable: bool | None
    """Whether something below was still untried when the search ended; None if untried."""
    success: bool | None
    """The checker's verdict at terminal nodes; None elsewhere."""
    solved: bool | None
    """Whether a correct answer was found here or below; None if untried."""
    dead_end: bool | None
    """Whether none was found and the search will not go on (exhausted, pruned, depth limit); None if untried."""
    pruned: bool | None
    """Whether it was stopped because `chance` was too small; None if untried."""
    outdone: bool | None
    """Whether it was left because no answer from here could be cheaper than one that was found; None if untried."""
    audit: bool | None
    """Of a pruned node searched after all: whether a correct answer was found below; None elsewhere."""
    chosen: bool
    """Whether it lies on the way to the cheapest correct answer; where none was found, on the most visited way."""
    tool_result: str | None
    """What the tool gave back; None where no tool was run."""
    tool_error: bool | None
    """Whether that was an error; None where no tool was run."""
    tool_sources: tuple[str, ...] | None
    """Ids of the passages shown; None where no tool was run."""
    tool_calls: int | None
    """Tool calls of this action as charged, nested ones included; None at the root or if untried."""
    tool_seconds: float | None
    """Their seconds as the price sheet charges them; None like `tool_calls`."""
    tool_money: float | None
    """Their money in the price sheet's currency unit; None like `tool_calls`."""
    greedy_success: bool | None
    """At the root: whether the policy alone (its first action everywhere) solves the problem; None elsewhere."""
    model_digest: str
    """Which weights proposed the actions."""
    data_digest: str
    """Which problems, passages, tools and prices were used."""


_ARROW: Final = {
    str: pa.string(),
    str | None: pa.string(),
    int: pa.int32(),
    int | None: pa.int32(),
    float: pa.float64(),
    float | None: pa.float64(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    tuple[int, ...] | None: pa.list_(pa.int32()),
    tuple[str, ...] | None: pa.list_(pa.string()),
}

NODE_SCHEMA: Final = pa.schema([(name, _ARROW[kind]) for name, kind in get_type_hints(NodeRow).items()])
"""One column a field, in their order; whatever may be None is nullable."""
