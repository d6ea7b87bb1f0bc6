"""The gate's operating curve under this project's thresholds. Takes the project's paths; gives lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.evaluation.simulate import Point, Scenario, operating_point
from components.evaluation.spending import alpha_of
from flows.shared.faults import UserFault
from flows.shared.params import load_params
from flows.shared.paths import Paths


def curve_lines(
    paths: Paths, effects: Sequence[float], *, gates: int, problems: int, discordance: float, look: int
) -> Iterator[str]:
    """A line a true gain, as soon as it is simulated."""
    params = load_params(paths)
    settings = params.gate
    alpha = alpha_of(look, looks=settings.looks, spending=settings.spending, alpha=settings.alpha)
    if alpha == 0:
        raise UserFault(f"--look: mlflow/registry.yaml allows {settings.looks} looks (gate.looks), is {look}")
    yield (
        f"{gates} gates a line, {problems} problems, discordance {100 * discordance:g} %, "
        f"look {look} of {settings.looks} ({settings.spending}): alpha {alpha:.4f}"
    )
    yield "true gain   promoted              theory"
    for effect in effects:
        try:
            scenario = Scenario(effect, problems, discordance)
        except ValueError as error:
            raise UserFault(f"--effect: {error}") from None
        yield _line(operating_point(scenario, settings, gates=gates, seed=params.seed, look=look))


def _line(point: Point) -> str:
    found = point.promoted
    rate = f"{100 * found.value:5.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return f"{100 * point.scenario.effect:+5.1f} pts   {rate:<22}{100 * point.theory:5.1f} %"
