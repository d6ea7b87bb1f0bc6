"""A verdict as Markdown: what a reviewer reads on the page of a model version.

Takes a `GateResult`; gives text. Does not decide.
"""

from __future__ import annotations

from components.schema.report import GateResult, Guard, Interval


def gate_markdown(verdict: GateResult) -> str:
    """Verdict, what it rests on, guards, and every difference."""
    parts = [
        f"**{verdict.decision}**: {verdict.challenger} against {verdict.champion}",
        verdict.reason,
        *([_tested(verdict)] if verdict.tested else []),
        *([_guards(verdict.guards)] if verdict.guards else []),
        *([_differences(verdict)] if verdict.differences else []),
    ]
    return "\n\n".join(parts) + "\n"


def _tested(verdict: GateResult) -> str:
    level = f"{100 * (1 - verdict.alpha):.4g} %"
    rows = [f"| {name} | {_figures(value)} |" for name, value in verdict.tested.items()]
    head = (
        f"| tested at look {verdict.look} on problems `{verdict.problems}` | value | {level} low | {level} high | n |"
    )
    return "\n".join([head, "|---|---|---|---|---|", *rows])


def _guards(guards: tuple[Guard, ...]) -> str:
    rows = [f"| {guard.name} | {guard.state} | {guard.margin:g} | {_figures(guard.measured)} |" for guard in guards]
    return "\n".join(["| guard | state | margin | value | low | high | n |", "|---|---|---|---|---|---|---|", *rows])


def _differences(verdict: GateResult) -> str:
    rows = [f"| {name} | {_figures(value)} |" for name, value in verdict.differences.items()]
    return "\n".join(["| challenger minus champion | value | 95 % low | high | n |", "|---|---|---|---|---|", *rows])


def _figures(value: Interval) -> str:
    return f"{value.value:+.4f} | {value.low:+.4f} | {value.high:+.4f} | {value.n}"
