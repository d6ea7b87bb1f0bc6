"""Figures of a self-play run. Takes node rows; gives metrics named `search/NAME`.

A pure function of the rows, so that it can be computed again from the Parquet file. Does not compute intervals: those
belong to evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

from components.search.schema import NodeRow


def summarise(rows: Sequence[NodeRow], families: Sequence[str] = ()) -> dict[str, float]:
    """Metrics `search/NAME` over all rows, and `search/FAMILY/NAME` for each family named."""
    metrics = {f"search/{name}": value for name, value in _figures(rows).items()}
    for family in families:
        of_family = [row for row in rows if row.family == family]
        metrics.update({f"search/{family}/{name}": value for name, value in _figures(of_family).items()})
    return metrics


def _figures(rows: Sequence[NodeRow]) -> dict[str, float]:
    roots = [row for row in rows if row.parent_id is None]
    if not roots:
        return {"trees": 0.0}
    visited = [row for row in rows if row.visits > 0]
    audits = [row.audit for row in visited if row.audit is not None]
    audited = {"false_prune_rate": sum(audits) / len(audits)} if audits else {}
    solved = {row.tree_id for row in visited if row.success}
    return {
        "trees": float(len(roots)),
        "solve_rate": len(solved) / len(roots),
        "greedy_solve_rate": sum(row.greedy_success is True for row in roots) / len(roots),
        "nodes": float(len(visited)),
        "simulations": float(sum(row.visits - 1 for row in roots)),
        "tool_calls": float(sum(row.tool_result is not None for row in visited)),
        "written_tokens": float(sum(row.written_tokens or 0 for row in visited)),
        "targets": float(sum(row.target is not None for row in rows)),
        "dead_ends": float(sum(row.dead_end is True for row in visited)),
        "pruned": float(sum(row.pruned is True for row in visited)),
        "cost_units": sum(row.cost_units or 0.0 for row in visited),
        **audited,
    }
