"""Shards of a stage's work dealt to a crew of Ray workers, each of which keeps its model warm.

Takes how a worker opens its work, the shards, and who is told of each result; tells every result once, in the order in
which they are done. A shard goes to one worker at a time and only to one that is up, so that a worker (or its machine)
that dies holds back nothing: its shard is dealt again. What a shard gives must depend on the shard alone, which makes
the whole independent of the number of workers. Without QANAT_PARALLEL=ray nobody calls this. The project must lie at
the same path on every machine of the cluster.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from flows.shared.environ import Parallel
from flows.shared.faults import UserFault

Shard = TypeVar("Shard")
Result = TypeVar("Result")
OpenWork = Callable[[], AbstractContextManager[Callable[[Any], Any]]]
"""Opens a worker's models and tools, for the time of a `with`, and gives what turns a shard into its result."""

MOST_DEATHS = 3
"""Workers that one shard may cost before it is taken for the reason."""
HIRE_SECONDS = 120.0
"""How long nobody may be up."""
STORE_BYTES = 200_000_000
"""Ray's shared memory on one machine: shards and results are small."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # on a busy machine Ray's own helpers need more than 30 s to start, and the node gives up without them
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_raylet_start_wait_time_s": "300",
    # workers do the work: what else runs here gives way to them no more than it does to a stage
    "RAY_worker_niceness": "0",
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray takes 127.0.0.1 for the host's address in the network, and then listens on all interfaces; on the systems of this
name it does not, and this makes Linux one of them. Read when Ray is imported."""


class CrewLost(UserFault):
    """Workers die again and again; the message says at what."""


def deal(
    open_work: OpenWork,
    shards: Sequence[Shard],
    *,
    parallel: Parallel,
    threads: int,
    done: Callable[[int, Result], None],
    told: Callable[[int], None] = lambda count: None,
) -> None:
    """Work on all shards; `done` is told the place of each and its result, `told` how many are done. `threads`:
    processors of a worker.

    Raises:
        CrewLost: a shard ended three workers, or workers end before they are up, or none comes up.
        UserFault: Ray is not installed, or the work itself says what a person can mend.
    """
    if shards:
        workers = min(parallel.workers, len(shards))
        with _connected(workers * threads) as ray:
            dealer = _Dealer(ray, open_work, shards, workers=workers, threads=threads, done=done)
            dealer.deal(told)


class _Worker:
    """What runs in a worker's process; it opens its work at the first shard."""

    def __init__(self, open_work: OpenWork) -> None:
        self._open, self._held = open_work, contextlib.ExitStack()
        self._work: Callable[[Any], Any] | None = None

    def up(self) -> None:
        """Answers once the process runs."""

    def work(self, shard: Any) -> Any:
        """The shard's result."""
        if self._work is None:
            self._work = self._held.enter_context(self._open())
        return self._work(shard)


class _Dealer(Generic[Shard, Result]):
    """One deal: who is up, who works on what, what is left."""

    def __init__(
        self,
        ray: Any,
        open_work: OpenWork,
        shards: Sequence[Shard],
        *,
        workers: int,
        threads: int,
        done: Callable[[int, Result], None],
    ) -> None:
        self._ray, self._shards, self._done = ray, shards, done
        self._kind, self._open = ray.remote(_Worker).options(num_cpus=threads, max_restarts=0), open_work
        self._left = deque(range(len(shards)))
        self._asked: dict[Any, tuple[Any, int | None]] = {}
        """What was asked of which worker: a shard by its place, or (None) whether it is up."""
        self._idle: list[Any] = []
        self._deaths: Counter[int | None] = Counter()
        for _ in range(workers):
            self._hire()

    def deal(self, told: Callable[[int], None]) -> None:
        """Until every shard is done."""
        missing = len(self._shards)
        while missing:
            results = [result for answer in self._answered() for result in self._take(answer)]
            while self._idle and self._left:  # before results are told: no worker waits for what is done with them
                self._give(self._idle.pop(), self._left.popleft())
            for place, result in results:
                self._done(place, result)
                missing -= 1
                told(len(self._shards) - missing)

    def _answered(self) -> list[Any]:
        """The next answer of a worker; none when those at work take long.

        A head that was restarted knows nothing of this crew: Ray then waits for its workers for ever.
        """
        answers, _ = self._ray.wait(list(self._asked), num_returns=1, timeout=HIRE_SECONDS)
        if not answers and all(place is None for _, place in self._asked.values()):
            raise CrewLost(
                f"no worker came up in {HIRE_SECONDS:.0f} s: the cluster has no free processors, or its head was "
                "restarted; run the same again, what was done is kept"
            )
        return list(answers)

    def _take(self, answer: Any) -> list[tuple[int, Result]]:
        """What a worker answers: the place and the result of its shard; nothing when it is up, or has died."""
        worker, place = self._asked.pop(answer)
        try:
            result = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except self._ray.exceptions.RayActorError as error:
            self._bury(place, str(error).splitlines()[0])
            return []
        self._idle.append(worker)
        return [] if place is None else [(place, result)]

    def _bury(self, place: int | None, why: str) -> None:
        self._deaths[place] += 1
        if self._deaths[place] >= MOST_DEATHS:
            at = "before they are up" if place is None else f"at shard {place + 1} of {len(self._shards)}"
            raise CrewLost(f"{MOST_DEATHS} workers died {at}: {why}")
        if place is not None:
            self._left.appendleft(place)
        self._hire()

    def _hire(self) -> None:
        worker = self._kind.remote(self._open)
        self._asked[worker.up.remote()] = (worker, None)

    def _give(self, worker: Any, place: int) -> None:
        self._asked[worker.work.remote(self._shards[place])] = (worker, place)


@contextlib.contextmanager
def _connected(processors: int) -> Iterator[Any]:
    """Ray: the cluster that RAY_ADDRESS names, else one of this process on loopback, ended with it."""
    address = os.environ.get("RAY_ADDRESS")
    for name, value in {**_SETTINGS, **({} if address else _LOOPBACK)}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError:
        raise UserFault("QANAT_PARALLEL=ray needs the extra `cluster`: pip install -e '.[cluster]'") from None
    own = {"num_cpus": processors, "object_store_memory": STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    with contextlib.nullcontext() if address else _inherited("PYTHONPATH", _import_path()):
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            **({} if address else own),
        )
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _inherited(name: str, value: str) -> Iterator[None]:
    """A variable for processes that are started now.

    Ray's own way (`runtime_env`) starts workers two seconds later, for an agent must be asked that is not up yet.
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _import_path() -> str:
    """Workers import what this process imports, from the working directory first."""
    return os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
