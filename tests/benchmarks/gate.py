"""The gate's operating curve: how often it promotes an equal, and finds what is better, over simulated gates.

    python -m tests.benchmarks.gate [GATES]

Powers stand beside their distance from theory, the normal approximation of the paired (McNemar) test. low and high
are 95 % intervals (Wilson), not the least and the most. Writes results/gate.json.
"""

from __future__ import annotations

import sys
import time

from components.evaluation.settings import GateSettings
from components.evaluation.simulate import SLICES, Point, Scenario, looks_promoting, operating_point
from components.schema.report import Interval
from tests.benchmarks.harness import Row, told, write

ONE_LOOK = GateSettings(looks=1)
"""The whole alpha at once: fresh problems for each challenger."""
EFFECTS = (0.01, 0.02, 0.03, 0.05, 0.10)


def main(gates: int) -> None:
    """Every row."""
    started, rows = time.perf_counter(), list[Row]()
    for discordance in (0.1, 0.2, 0.3):
        for problems in (300, 1000):
            world = Scenario(0.0, problems, discordance)
            point = operating_point(world, ONE_LOOK, gates=gates, seed=0)
            rows.append(_row(f"A/A promotions, {_where(world)}", point.promoted, bar="<= 5"))
    for problems in (300, 1000):
        for effect in EFFECTS:
            point = operating_point(Scenario(effect, problems), ONE_LOOK, gates=gates, seed=0)
            rows += _power(point, bar="<= 3" if (effect, problems) == (0.05, 1000) else None)
    related = Scenario(0.0, 1000, group_size=4, correlation=0.5)
    point = operating_point(related, ONE_LOOK, gates=gates, seed=0)
    rows.append(_row(f"A/A promotions, {_where(related)}, groups of 4 correlated 0.5", point.promoted, bar="<= 5"))
    rows.append(_row("promotions of +5 points at look 1 of 10 (pocock)", _first_look(gates), bar=None))
    harmed = Scenario(0.05, 1000, slice_loss=0.25)
    point = operating_point(harmed, ONE_LOOK, gates=gates, seed=0)
    rows.append(_row(f"promotions of +5 points though one slice of {SLICES} loses 20", point.promoted, bar="<= 5"))
    rows += _looks(gates // 5)
    write("gate", rows, started=started)


def _power(point: Point, *, bar: str | None) -> list[Row]:
    where = f"+{100 * point.scenario.effect:g} points, {_where(point.scenario)}"
    theory, found = 100 * point.theory, point.promoted
    off, low, high = (100 * edge - theory for edge in (found.value, found.low, found.high))
    told(f"  theory {theory:.1f} %")
    least = 0.0 if low < 0 < high else min(abs(low), abs(high))
    most = max(abs(low), abs(high))
    away = Row(f"distance of power from theory, {where}", abs(off), least, most, "points", bar, found.n)
    return [_row(f"power, {where}", found, bar=None), away]


def _first_look(gates: int) -> Interval:
    return operating_point(Scenario(0.05), GateSettings(), gates=gates, seed=0).promoted


def _looks(gates: int) -> list[Row]:
    ten = GateSettings()
    spent = looks_promoting(ten, problems=500, gates=gates, seed=0, spend=True)
    free = looks_promoting(ten, problems=500, gates=gates, seed=0, spend=False)
    where = "any of 10 equal challengers of one champion promoted, 500 problems"
    return [_row(f"{where}, alpha spent", spent, bar="<= 5"), _row(f"{where}, alpha not spent", free, bar=None)]


def _where(world: Scenario) -> str:
    return f"n = {world.problems}, {100 * world.discordance:g} % discordance"


def _row(measure: str, found: Interval, *, bar: str | None) -> Row:
    row = Row(measure, 100 * found.value, 100 * found.low, 100 * found.high, "%", bar, found.n)
    told(f"{row.measure}: {row.value:.2f} % [{row.low:.2f}, {row.high:.2f}]" + (f", bar {bar}" if bar else ""))
    return row


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
