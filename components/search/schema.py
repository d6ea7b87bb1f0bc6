"""What a search writes down: one row a node. Takes nothing; gives `NodeRow` and its Arrow schema, `NODE_SCHEMA`.

Rows with `visits` 0 are proposed actions that no simulation tried: they have a prior and tokens, and None where only a
visit could tell. Does not build rows (`components.search.rows`) or write them (`components.search.store`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
    """P among its siblings, which sum to 1; None at the root."""
    visits: int
    """N: simulations through here, the one that made the node included."""
    value_sum: float
    """W: sum of the returns they backed up."""
    q: float | None
    """W / N; None if untried."""
    value: float | None
    """Return estimated when the node was made (exact where terminal), in [-lambda * C_max, 1]; None if untried."""
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
    tool_result: str | None
    """What the tool gave back; None where no tool was run."""
    tool_error: bool | None
    """Whether that was an error; None where no tool was run."""
    greedy_success: bool | None
    """At the root: whether the policy alone (its first action everywhere) solves the problem; None elsewhere."""
    model_digest: str
    """Which weights proposed the actions."""
    data_digest: str
    """Which problems, passages, tools and prices were used."""


NODE_SCHEMA: Final = pa.schema(
    [
        ("tree_id", pa.string()),
        ("node_id", pa.string()),
        ("parent_id", pa.string()),
        ("problem_id", pa.string()),
        ("family", pa.string()),
        ("depth", pa.int32()),
        ("simulation", pa.int32()),
        ("decision", pa.string()),
        ("arguments", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("context_tokens", pa.int32()),
        ("prior", pa.float64()),
        ("visits", pa.int32()),
        ("value_sum", pa.float64()),
        ("q", pa.float64()),
        ("value", pa.float64()),
        ("cost_units", pa.float64()),
        ("spent_units", pa.float64()),
        ("terminal", pa.bool_()),
        ("expandable", pa.bool_()),
        ("success", pa.bool_()),
        ("tool_result", pa.string()),
        ("tool_error", pa.bool_()),
        ("greedy_success", pa.bool_()),
        ("model_digest", pa.string()),
        ("data_digest", pa.string()),
    ]
)
