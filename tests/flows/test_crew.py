"""Shards dealt to workers: the same results as one process gives, and nothing lost or doubled when a worker dies."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import crew_work
import psutil
import pytest

from components.schema.trajectory import Trajectory
from components.search.rows import content_hash
from components.search.selfplay import join, missing_blocks
from components.search.store import load_tree
from flows.shared import crew
from flows.shared.crew import CrewLost, deal
from flows.shared.environ import Parallel, parallel
from flows.shared.faults import UserFault

TESTS = Path(crew_work.__file__).parent


class ActorDiedError(Exception):
    """Ray's word for a worker that is gone."""


class TaskFailedError(Exception):
    """Ray's word for work that raised; carries the reason."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a long trace")
        self.cause = cause


class ToyRay:
    """Ray in one process: workers answer in the order asked; those hired under a number in `dies` end at a shard."""

    exceptions = SimpleNamespace(RayActorError=ActorDiedError, RayTaskError=TaskFailedError)

    def __init__(self, *, dies: dict[int, Any], quiet: bool = False) -> None:
        self.quiet = quiet
        """Nobody answers any more."""
        self.dies, self.hired, self.answers = dies, 0, deque[str]()
        self.calls: dict[str, Callable[[], Any]] = {}
        self.worked: list[Any] = []

    def remote(self, worker: type) -> Any:
        return SimpleNamespace(options=lambda **asked: SimpleNamespace(remote=partial(self._hire, worker)))

    def _hire(self, worker: type, open_work: Any) -> Any:
        number, made = self.hired, worker(open_work)
        self.hired += 1

        def up() -> str:
            return self._ask(lambda: self._die_at("up", number))

        def work(shard: Any) -> str:
            return self._ask(lambda: (self._die_at(shard, number), self.worked.append(shard), made.work(shard))[-1])

        return SimpleNamespace(up=SimpleNamespace(remote=up), work=SimpleNamespace(remote=work))

    def _die_at(self, what: Any, number: int) -> None:
        if self.dies.get(number) == what:
            raise ActorDiedError("the worker died\nwith details")

    def _ask(self, call: Callable[[], Any]) -> str:
        answer = f"answer {len(self.calls)}"
        self.calls[answer] = call
        return answer

    def wait(self, asked: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        assert timeout > 0
        if self.quiet:
            return [], asked
        return asked[:num_returns], asked[num_returns:]

    def get(self, answer: str) -> Any:
        try:
            return self.calls[answer]()
        except (ValueError, UserFault) as error:
            raise TaskFailedError(error) from None


@contextlib.contextmanager
def squares() -> Iterator[Callable[[int], int]]:
    def square(shard: int) -> int:
        if shard < 0:
            raise UserFault("shards must not be negative")
        return shard * shard

    yield square


def played(ray: ToyRay, shards: list[int], workers: int = 2) -> dict[int, int]:
    results: dict[int, int] = {}
    counts: list[int] = []

    def done(place: int, result: int) -> None:
        assert place not in results
        results[place] = result

    crew._Dealer(ray, squares, shards, workers=workers, threads=1, done=done).deal(counts.append)
    assert counts == list(range(1, len(shards) + 1))
    return results


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("dies", [{}, {0: 3}, {0: "up"}, {0: 3, 1: 4}, {0: 3, 2: 3}])
def test_every_shard_is_told_once_whoever_dies(workers: int, dies: dict[int, Any]) -> None:
    assert played(ToyRay(dies=dies), [1, 2, 3, 4, 5], workers) == {place: (place + 1) ** 2 for place in range(5)}


def test_a_shard_that_ends_every_worker_is_named() -> None:
    with pytest.raises(CrewLost, match=r"3 workers died at shard 2 of 2: the worker died$"):
        played(ToyRay(dies=dict.fromkeys(range(9), 7)), [1, 7])


def test_workers_that_never_come_up_end_the_run() -> None:
    with pytest.raises(CrewLost, match="before they are up"):
        played(ToyRay(dies=dict.fromkeys(range(9), "up")), [1])


def test_a_cluster_that_knows_nothing_of_the_crew_is_not_waited_for_for_ever() -> None:
    with pytest.raises(CrewLost, match=r"no worker came up in 120 s: .* run the same again"):
        played(ToyRay(dies={}, quiet=True), [1])


def test_a_fault_of_the_input_is_told_in_its_own_words() -> None:
    with pytest.raises(UserFault, match=r"^shards must not be negative$"):
        played(ToyRay(dies={}), [1, -1])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"QANAT_PARALLEL": "local", "QANAT_WORKERS": "4"}, None),
        ({"QANAT_PARALLEL": "ray"}, Parallel(2)),
        ({"QANAT_PARALLEL": "ray", "QANAT_WORKERS": "7"}, Parallel(7)),
    ],
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Parallel | None
) -> None:
    for name in ("QANAT_PARALLEL", "QANAT_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert parallel() == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("QANAT_PARALLEL", "dask", "QANAT_PARALLEL: must be local or ray, is 'dask'"),
        ("QANAT_WORKERS", "0", "QANAT_WORKERS: must be a whole number >= 1, is '0'"),
        ("QANAT_WORKERS", "many", "QANAT_WORKERS: must be a whole number >= 1, is 'many'"),
    ],
)
def test_a_bad_choice_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserFault, match=message):
        parallel()


def addresses_listened_on() -> set[str]:
    """By the processes that this one started."""
    children = psutil.Process().children(recursive=True)
    found: set[str] = set()
    for child in children:
        with contextlib.suppress(psutil.Error):
            found |= {one.laddr.ip for one in child.net_connections("inet") if one.status == psutil.CONN_LISTEN}
    return found


def _is_loopback(address: str) -> bool:
    """Also of 127.0.0.1 as a socket of IPv6 writes it."""
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("::", False), ("::ffff:10.0.0.1", False)],
)
def test_loopback_is_told_from_the_network(address: str, loopback: bool) -> None:
    assert _is_loopback(address) is loopback


def untimed(trajectory: Trajectory) -> Trajectory:
    """Without what the clock said of its tools, which is every run's own."""
    transitions = (
        replace(step, results=tuple(replace(result, wall_seconds=None) for result in step.results))
        for step in trajectory.transitions
    )
    return replace(trajectory, transitions=tuple(transitions))


def test_two_real_workers_one_of_which_dies_give_what_one_process_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real Ray on loopback; self-play and evaluation by a tiny model with the real index and interpreter."""
    if find_spec("ray") is None:
        pytest.skip("the extra `cluster` is not installed: `make test-cluster`")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    paths, once = crew_work.make_project(tmp_path), tmp_path / "died"
    nothing_saved = partial(load_tree, tmp_path / "none")
    blocks = missing_blocks(
        crew_work.PROBLEMS, crew_work.SETTINGS, provenance=crew_work.MADE_BY, load_tree=nothing_saved
    )
    shards = [*blocks, *crew_work.batches()]
    with crew_work.open_both(paths, None, once) as work:
        alone = [work(shard) for shard in shards]
    dealt: dict[int, Any] = {}
    listening: set[str] = set()

    def done(place: int, result: Any) -> None:
        assert place not in dealt, "a shard came twice"
        dealt[place] = result
        listening.update(addresses_listened_on())

    dies_at = blocks[1][0].problem_id
    deal(partial(crew_work.open_both, paths, dies_at, once), shards, parallel=Parallel(2), threads=1, done=done)
    together = [dealt[place] for place in range(len(shards))]
    assert once.exists(), "no worker died"
    assert listening
    assert all(_is_loopback(one) for one in listening), listening
    searched = [join([found for block in results[: len(blocks)] for found in block]) for results in (alone, together)]
    assert len(searched[0].rows) > len(crew_work.PROBLEMS), "only roots: nothing was searched"
    assert content_hash(searched[0].rows) == content_hash(searched[1].rows)
    played = [[untimed(one) for batch in results[len(blocks) :] for one in batch] for results in (alone, together)]
    assert len(played[0]) == 2 * len(crew_work.PROBLEMS)
    assert played[0] == played[1]
