"""Training stages in several processes: started by torchrun, joined by accelerate, one of them the stage itself.

Takes a stage's entry point; runs it here, or in as many processes as QANAT_TRAINERS asks for (whoever calls torchrun
over several machines has started them already). The first process is the stage; the others compute gradients for it and
write nothing. Results depend on their number only by rounding, so it is no parameter: changing it must not rerun a
stage. Does not train.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from components.policy.load import device_of
from components.training.team import ALONE, Team
from flows.shared.environ import rank, sharded, trainers
from flows.shared.faults import UserFault
from flows.shared.stage import StageRun, stage_run


def launch(stage: str, main: Callable[[], None], arguments: Sequence[str] = ()) -> None:
    """Run `main`; where several trainers are asked for, put torchrun in this process's place, which calls it in each.

    `stage` is the module's name below `flows.stages`, `arguments` what it was called with.
    """
    try:
        count = trainers()
    except UserFault as error:
        raise SystemExit(f"{stage}: {error}") from None
    if count == 1 or rank() is not None:
        main()
        return
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", f"flows.stages.{stage}", *arguments])


@contextlib.contextmanager
def team_run(stage: str) -> Iterator[tuple[StageRun, Team]]:
    """The frame of a stage that several processes may train in, and this process's place among them.

    All have come when it begins; the first one has seen by then whether there is something to go on with.
    """
    with stage_run(stage, leads=not rank()) as run, _joined(run) as team:
        yield run, team


@contextlib.contextmanager
def _joined(run: StageRun) -> Iterator[Team]:
    if rank() is None:
        yield ALONE
        return
    from accelerate import PartialState  # seconds to import, and only teams need it

    state = PartialState(cpu=device_of(run.params.policy).type == "cpu")
    team = Team(state.process_index, state.num_processes, sharded=sharded())
    team.meet()
    try:
        yield team
    finally:
        state.destroy_process_group()
