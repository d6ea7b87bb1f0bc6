"""What stops a run before it ends in silence with a useless model. Takes the metrics of steps; gives alarms, or raises.

Collapse to no calls, call rates outside a band, a policy far from the clone, decisions without doubt, another scorer
than the run began with. Changes nothing itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from components.training.settings import ReinforceSettings

Warn = Callable[[str], None]


class TrainingStopped(RuntimeError):  # noqa: N818 - says what happened
    """A guard ended the run; the message says which, and what to do."""


class CallRateCollapse(TrainingStopped):
    """The policy stopped calling tools."""


class CallRateOutOfBand(TrainingStopped):
    """The problems of a family call tools more rarely, or more often, than the band allows."""


class AlarmRaised(TrainingStopped):
    """An alarm, where `alarms_stop` asks for the end of the run."""


class ScorerChanged(TrainingStopped):
    """The checkpoint was made with rewards of another scorer."""


class Guards:
    """Remembers what the steps so far were like."""

    def __init__(self, settings: ReinforceSettings, warn: Warn = lambda text: None) -> None:
        """`warn` is told every alarm."""
        self._settings, self._warn = settings, warn
        self._called = 0.0
        self._recent = {family: deque[bool](maxlen=settings.call_rate_window) for family in settings.call_rate_band}
        self._alarms: list[str] = []

    def state(self) -> dict[str, object]:
        """What it remembers, for a checkpoint."""
        return {"called": self._called, "recent": {family: list(recent) for family, recent in self._recent.items()}}

    def load(self, state: object) -> None:
        """Go on from the `state()` of a checkpoint; from nothing where it holds none. Families without a band now are
        left out."""
        if not isinstance(state, dict):
            return
        self._called = float(state["called"])
        for family, recent in self._recent.items():
            recent.extend(map(bool, state["recent"].get(family, ())))

    def alarms(self, step: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """How many alarms the step raises, as a metric; each is told."""
        self._alarms = [f"step {step}: {text}" for text in _alarms(metrics, self._settings)]
        for text in self._alarms:
            self._warn(text)
        return {"optim/alarms": float(len(self._alarms))}

    def check(self, step: int, metrics: Mapping[str, float], problems: Mapping[str, int]) -> None:
        """Stop when something is wrong. `problems`: how many problems of each family the step saw.

        Raises:
            CallRateCollapse: fewer problems than `call_rate_low` still call a tool, and more did before.
            CallRateOutOfBand: the last `call_rate_window` problems of a family left its band.
            AlarmRaised: the step raised an alarm and `alarms_stop` is set.
        """
        if self._alarms and self._settings.alarms_stop:
            raise AlarmRaised(self._alarms[0])
        self._check_collapse(step, metrics.get("rollout/call_rate"))
        for family, recent in self._recent.items():
            count = problems.get(family, 0)
            called = round(metrics.get(f"rollout/call_rate_{family}", 0.0) * count)
            recent.extend([True] * called + [False] * (count - called))
            self._check_band(step, family, recent)

    def _check_collapse(self, step: int, rate: float | None) -> None:
        if rate is None:
            return
        self._called = max(self._called, rate)
        if rate < self._settings.call_rate_low < self._called:
            raise CallRateCollapse(
                f"step {step}: only {rate:.0%} of the problems still call a tool (floor "
                f"{self._settings.call_rate_low:.0%}). Lower reward.price or raise reinforce.replay_weight, then run "
                "again."
            )

    def _check_band(self, step: int, family: str, recent: deque[bool]) -> None:
        low, high = self._settings.call_rate_band[family]
        rate = sum(recent) / max(1, len(recent))
        if len(recent) == recent.maxlen and not low <= rate <= high:
            advice = "Lower reward.price or set reinforce.decision_floor" if rate < low else "Raise reward.price"
            raise CallRateOutOfBand(
                f"step {step}: {rate:.0%} of the last {len(recent)} problems of family {family} call a tool, outside "
                f"{low:.0%} to {high:.0%} (reinforce.call_rate_band). {advice}, or widen the band, then run again."
            )


def _alarms(metrics: Mapping[str, float], settings: ReinforceSettings) -> list[str]:
    kl, entropy = metrics.get("loss/kl"), metrics.get("rollout/decision_entropy")
    raised = []
    if settings.kl_high is not None and kl is not None and kl > settings.kl_high:
        raised.append(f"KL to the clone is {kl:.3g} nats a token, above {settings.kl_high:g} (reinforce.kl_high)")
    if settings.entropy_low is not None and entropy is not None and entropy < settings.entropy_low:
        raised.append(
            f"decisions have {entropy:.3g} nats of entropy, below {settings.entropy_low:g} (reinforce.entropy_low)"
        )
    return raised


def check_scorer(state: Mapping[str, object], scorer: str) -> None:
    """Refuse to go on from a checkpoint (`state`: what it holds beside the weights) made with another scorer.

    Raises:
        ScorerChanged: rewards before and after would not be comparable.
    """
    before = state.get("scorer")
    if before != scorer:
        raise ScorerChanged(
            f"the checkpoint was trained on rewards of scorer {before or '(not recorded)'}, the present one is "
            f"{scorer or '(none)'}: delete the checkpoint to start anew, or put the old scorer back"
        )
