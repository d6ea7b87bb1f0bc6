"""Whatever becomes of events and processes, the newest annotations get exactly one retrain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.shared.operations import WatchSettings
from flows.shared.trigger import Asked, Decision, Fate, Nothing, Seen, Start, Wait, decide

AT_ONCE = WatchSettings(quiet_seconds=0, minimum=1, longest_wait_seconds=0)
PATIENT = WatchSettings(quiet_seconds=60, minimum=10, longest_wait_seconds=3600, attempts=3)
SEEN = Seen(data="new", rows=30, changed_at=1000.0, differs_since=1000.0, asked=None)


def _asked(fate: Fate, *, data: str = "old", rows: int = 10, attempt: int = 1) -> Asked:
    return Asked(data=data, rows=rows, attempt=attempt, fate=fate)


CASES: dict[str, tuple[Seen, float, Decision | type[Decision]]] = {
    "no annotations": (replace(SEEN, rows=0), 5000, Nothing),
    "never trained, quiet": (SEEN, 1060, Start("new", 1)),
    "still coming": (SEEN, 1059, Wait(1060, "annotations are still coming")),
    "too few": (replace(SEEN, rows=9), 1100, Wait(4600, "9 new annotations, 10 are worth a retrain")),
    "too few, for too long": (replace(SEEN, rows=9), 4600, Start("new", 1)),
    "still coming, for too long": (replace(SEEN, changed_at=4599, differs_since=999), 4600, Start("new", 1)),
    "enough since the last": (replace(SEEN, asked=_asked("finished", rows=20)), 1060, Start("new", 1)),
    "too few since the last": (replace(SEEN, asked=_asked("finished", rows=21)), 1060, Wait),
    "many removed": (replace(SEEN, asked=_asked("finished", rows=45)), 1060, Start("new", 1)),
    "one is running": (
        replace(SEEN, asked=_asked("running")),
        9999,
        Wait(None, "a retrain is running; the newest annotations are next"),
    ),
    "an older request waits": (replace(SEEN, asked=_asked("waiting")), 1060, Start("new", 1)),
    "the last one failed": (replace(SEEN, asked=_asked("failed")), 1060, Start("new", 1)),
    "failed on these": (replace(SEEN, asked=_asked("failed", data="new")), 9999, Nothing),
    "cancelled by a person": (replace(SEEN, asked=_asked("cancelled", data="new")), 9999, Nothing),
    "finished on these": (replace(SEEN, asked=_asked("finished", data="new")), 9999, Nothing),
    "waiting with these": (replace(SEEN, asked=_asked("waiting", data="new")), 9999, Nothing),
    "interrupted": (replace(SEEN, asked=_asked("interrupted", data="new", attempt=2)), 1000, Start("new", 3)),
    "interrupted too often": (replace(SEEN, asked=_asked("interrupted", data="new", attempt=3)), 1000, Nothing),
    "the wish got lost": (replace(SEEN, asked=_asked("unknown", data="new", attempt=2)), 1000, Start("new", 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_decision(name: str) -> None:
    seen, now, expected = CASES[name]
    decision = decide(seen, now, PATIENT)
    assert decision == expected if not isinstance(expected, type) else isinstance(decision, expected)


@dataclass
class World:
    """Annotations, a server and a watcher that may be restarted or hear of anything at any time."""

    now: float = 0.0
    rows: int = 0
    changed_at: float = 0.0
    asked: Asked | None = None
    wishes: int = 0
    started: list[tuple[str, int, int]] = field(default_factory=list)
    """Keys under which a run was made (data, attempt, wish): the server makes one a key."""
    interrupted: int = 0

    @property
    def data(self) -> str:
        return f"data-{self.rows}"

    def look(self, *, killed_before_the_record: bool = False) -> None:
        seen = Seen(self.data, self.rows, self.changed_at, self.changed_at, self.asked)
        decision = decide(seen, self.now, AT_ONCE.model_copy(update={"attempts": 99}))
        if isinstance(decision, Start):
            again = self.asked is not None and (self.asked.data, self.asked.attempt) == (
                decision.data,
                decision.attempt,
            )
            self.wishes += not (again and self.asked is not None and self.asked.fate == "unknown")
            fate: Fate = "unknown" if killed_before_the_record else "waiting"
            self.asked = Asked(decision.data, self.rows, decision.attempt, fate)
            key = (decision.data, decision.attempt, self.wishes)
            if key not in self.started:  # told to the server even where the answer was lost with the watcher
                self.started.append(key)

    def fare(self, fate: Fate) -> None:
        if self.asked is not None and self.asked.fate in ("waiting", "running"):
            self.interrupted += fate == "interrupted"
            self.asked = replace(self.asked, fate=fate)

    def change(self, rows: int) -> None:
        self.rows = max(1, self.rows + rows)
        self.changed_at = self.now


STEPS = st.lists(
    st.sampled_from(["add", "take back", "look", "look", "killed while asking", "running", "finished", "interrupted"]),
    max_size=40,
)


@settings(max_examples=300)
@given(STEPS)
def test_in_any_order_of_additions_events_kills_and_ends_the_newest_annotations_get_exactly_one_retrain(
    steps: list[str],
) -> None:
    world = World()
    world.change(+1)
    changes = 0
    for step in steps:
        world.now += 1.0
        if step in ("add", "take back"):
            world.change(+1 if step == "add" else -1)
            changes += 1
        elif step == "look":  # an event, a doubled event, an event out of order, a look without any event
            world.look()
        elif step == "killed while asking":
            world.look(killed_before_the_record=True)
        else:
            world.fare(step)  # type: ignore[arg-type]
    for _ in range(4):  # events may all be lost: looking goes on
        world.now += 1.0
        world.look()
        world.fare("finished")
    ended = [data for data, _, _ in world.started]
    assert ended[-1] == world.data
    assert len(ended) <= 1 + changes + world.interrupted, "one a change of the annotations, one an interruption"
    told_again = sum(one == other for one, other in pairwise(ended))
    assert told_again <= world.interrupted, "only an interruption makes a second retrain for the same annotations"
