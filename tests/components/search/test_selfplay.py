"""Self-play: nothing lost or doubled, whatever the blocks and the kills; files that others can read."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from random import Random

import datasets
import pyarrow.parquet as pq
import pytest
from toy_search import in_advance, make_action, make_problem, make_verbs, random_world

from components.records.jsonl import read_records, write_records
from components.schema.problem import Problem
from components.schema.proposal import Proposal, ProposalRequest
from components.schema.trajectory import State, Trajectory
from components.search.rows import Provenance, content_hash
from components.search.schema import NODE_SCHEMA, NodeRow
from components.search.selfplay import Found, join, missing_blocks, pick_problems, search_block, selfplay
from components.search.settings import SelfplaySettings
from components.search.store import load_tree, read_nodes, save_tree, write_nodes
from components.search.summary import summarise
from components.search.verbs import Verbs

PROBLEMS = [make_problem(f"p{index}", family=("puzzle", "two_hop")[index % 2]) for index in range(11)]
MADE_BY = Provenance(model_digest="weights", data_digest="data")
CHOSEN = in_advance(simulations=12, trees=4)


class KilledError(Exception):
    """Stands for the end of the process."""


def play(folder: Path, *, trees: int = 4, kill_at: int | None = None, proposed: list[int] | None = None) -> Found:
    """Self-play in the toy world, saved in `folder`; ends at the `kill_at`-th question to the model."""
    inner, counts = make_verbs(random_world(5))

    def propose(requests: Sequence[ProposalRequest]) -> Sequence[Sequence[Proposal]]:
        if len(counts.proposed) == kill_at:
            raise KilledError
        return inner.propose(requests)

    verbs = Verbs(propose, inner.value, inner.judge, inner.step_many, inner.units)
    found = selfplay(
        PROBLEMS,
        lambda: verbs,
        CHOSEN.model_copy(update={"trees": trees}),
        provenance=MADE_BY,
        load_tree=partial(load_tree, folder),
        save_tree=partial(save_tree, folder),
    )
    joined = join(list(found))
    if proposed is not None:
        proposed.append(len(counts.proposed))
    return joined


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return play(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("trees", [1, 3, 11, 64])
def test_rows_and_trajectories_do_not_depend_on_the_block_size(whole: Found, tmp_path: Path, trees: int) -> None:
    other = play(tmp_path, trees=trees)
    assert content_hash(other.rows) == content_hash(whole.rows)
    assert other.trajectories == whole.trajectories


def test_the_blocks_that_are_missing_are_those_that_would_be_searched(tmp_path: Path) -> None:
    left = partial(missing_blocks, PROBLEMS, CHOSEN, provenance=MADE_BY, load_tree=partial(load_tree, tmp_path))
    assert [len(block) for block in left()] == [4, 4, 3]
    with pytest.raises(KilledError):
        play(tmp_path, kill_at=21)
    missing = left()
    assert 0 < len(missing) < 3
    assert tuple(problem for block in missing for problem in block) == tuple(PROBLEMS[-sum(map(len, missing)) :])
    play(tmp_path)
    assert left() == ()


@pytest.mark.parametrize("kill_at", [1, 9, 17, 21])
def test_a_killed_run_continues_with_no_tree_lost_or_doubled(whole: Found, tmp_path: Path, kill_at: int) -> None:
    with pytest.raises(KilledError):
        play(tmp_path, kill_at=kill_at)
    again = play(tmp_path)
    assert again == whole
    roots = [row.problem_id for row in again.rows if row.parent_id is None]
    assert roots == [problem.problem_id for problem in PROBLEMS]


def test_where_every_tree_was_saved_no_model_is_opened(whole: Found, tmp_path: Path) -> None:
    play(tmp_path)

    def never() -> Verbs:
        raise AssertionError("there is nothing to search")

    load, save = partial(load_tree, tmp_path), partial(save_tree, tmp_path)
    settings = CHOSEN.model_copy(update={"trees": 4})
    found = selfplay(PROBLEMS, never, settings, provenance=MADE_BY, load_tree=load, save_tree=save)
    assert join(list(found)) == whole


def test_a_finished_run_is_not_searched_again(whole: Found, tmp_path: Path) -> None:
    asked: list[int] = []
    play(tmp_path, proposed=asked)
    assert play(tmp_path, proposed=asked) == whole
    assert asked[0] > 0
    assert asked[1] == 0


KILL = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import importlib.util
spec = importlib.util.spec_from_file_location("test_selfplay", sys.argv[3] + "/components/search/test_selfplay.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
try:
    module.play(Path(sys.argv[1]), kill_at=20)
except module.KilledError:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_ended_by_sigkill_leaves_whole_blocks_only(whole: Found, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", KILL, str(tmp_path), str(root), str(root / "tests")]
    assert subprocess.run(command, check=False, cwd=root, env=dict(os.environ)).returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.parquet"))
    assert play(tmp_path) == whole


def test_a_half_saved_block_is_searched_again(whole: Found, tmp_path: Path) -> None:
    play(tmp_path)
    next(iter(tmp_path.glob("*.parquet"))).unlink()
    assert play(tmp_path) == whole


def test_blocks_of_other_weights_or_settings_are_not_reused(tmp_path: Path) -> None:
    verbs, counts = make_verbs(random_world(5))
    made_by = [MADE_BY, Provenance("other weights", "data"), Provenance("weights", "other data"), MADE_BY]
    chosen = [CHOSEN, CHOSEN, CHOSEN, CHOSEN.model_copy(update={"c_puct": 2.0})]
    for provenance, settings in zip(made_by, chosen, strict=True):
        before = len(counts.proposed)
        load, save = partial(load_tree, tmp_path), partial(save_tree, tmp_path)
        list(selfplay(PROBLEMS, lambda: verbs, settings, provenance=provenance, load_tree=load, save_tree=save))
        assert len(counts.proposed) > before


def test_the_same_rows_make_the_same_bytes_and_come_back_equal(whole: Found, tmp_path: Path) -> None:
    write_nodes(tmp_path / "a.parquet", whole.rows)
    write_nodes(tmp_path / "b.parquet", read_nodes(tmp_path / "a.parquet"))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert read_nodes(tmp_path / "b.parquet") == whole.rows
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.parquet", "b.parquet"]


def test_datasets_reads_the_nodes(whole: Found, tmp_path: Path) -> None:
    write_nodes(tmp_path / "nodes.parquet", whole.rows)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "nodes.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.column_names == [field.name for field in fields(NodeRow)]
    assert loaded.num_rows == len(whole.rows)
    assert loaded[1]["token_ids"] == list(whole.rows[1].token_ids or ())
    assert loaded[0]["prior"] is None


def test_the_schema_names_the_fields_of_a_row() -> None:
    assert NODE_SCHEMA.names == [field.name for field in fields(NodeRow)]


def test_a_block_without_rows_keeps_the_schema(tmp_path: Path) -> None:
    write_nodes(tmp_path / "none.parquet", ())
    assert read_nodes(tmp_path / "none.parquet") == ()
    assert pq.read_schema(tmp_path / "none.parquet").names == NODE_SCHEMA.names


def test_a_full_disk_leaves_the_old_file_and_no_other(whole: Found, tmp_path: Path) -> None:
    path = tmp_path / "nodes.parquet"
    write_nodes(path, whole.rows[:1])
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match=r"File too large"):
            write_nodes(path, whole.rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["nodes.parquet"]


def test_ids_say_where_a_node_hangs_and_every_parent_is_there(whole: Found) -> None:
    ids = [row.node_id for row in whole.rows]
    assert len(set(ids)) == len(ids)
    for row in whole.rows:
        assert row.parent_id is None or (row.parent_id in ids and row.node_id.startswith(f"{row.parent_id}/"))
        assert row.depth == row.node_id.count("/")


def test_untried_actions_are_rows_without_what_only_a_visit_tells(whole: Found) -> None:
    untried = [row for row in whole.rows if row.visits == 0]
    assert untried
    for row in untried:
        assert (row.q, row.value, row.terminal, row.expandable, row.spent_units, row.simulation) == (None,) * 6
        assert row.prior is not None


def test_the_best_trajectory_of_a_tree_is_correct_and_the_cheapest(whole: Found, tmp_path: Path) -> None:
    successes: dict[str, list[float]] = {}
    for row in whole.rows:
        if row.success:
            successes.setdefault(row.problem_id, []).append(row.spent_units or 0.0)
    assert {one.problem_id for one in whole.trajectories} == set(successes)
    for one in whole.trajectories:
        assert one.outcome.success is True
        assert one.policy_id == "search:weights"
        assert one.outcome.cost.money + one.outcome.cost.seconds == min(successes[one.problem_id])
    write_records(tmp_path / "t.jsonl", whole.trajectories)
    assert read_records(tmp_path / "t.jsonl", Trajectory) == whole.trajectories


def test_the_summary_counts_trees_calls_and_cost(whole: Found) -> None:
    summary = summarise(whole.rows, families=("puzzle", "two_hop"))
    assert summary["search/trees"] == len(PROBLEMS)
    assert summary["search/solve_rate"] == pytest.approx(len(whole.trajectories) / len(PROBLEMS))
    assert 0.0 <= summary["search/greedy_solve_rate"] <= summary["search/solve_rate"]
    assert summary["search/nodes"] == summary["search/simulations"] + len(PROBLEMS)
    assert summary["search/cost_units"] == pytest.approx(summary["search/tool_calls"])
    assert summary["search/puzzle/trees"] + summary["search/two_hop/trees"] == len(PROBLEMS)


def test_the_summary_of_nothing_is_no_trees() -> None:
    assert summarise(()) == {"search/trees": 0.0}


def test_sampling_teaches_the_cheapest_correct_plays_at_the_trees_compute(whole: Found) -> None:
    verbs, _ = make_verbs(random_world(5))

    def act(states: Sequence[State], *, seeds: Sequence[int]) -> list[Proposal]:
        turns = ("call:a", "right", "wrong")
        return [Proposal(make_action(turns[Random(seed).randrange(3)]), 1.0, context_tokens=7) for seed in seeds]

    chosen = CHOSEN.model_copy(update={"teacher": "sampling"})
    found = search_block(PROBLEMS, replace(verbs, act=act), chosen, MADE_BY)
    taught = [one for part in found for one in part.trajectories]
    assert {one.policy_id for one in taught} == {"sampling:weights"}
    assert all(one.outcome.success for one in taught)
    assert len({one.problem_id for one in taught}) == len(taught) > 0
    assert content_hash(join(found).rows) == content_hash(whole.rows), "the trees are the same"
    with pytest.raises(ValueError, match="act"):
        search_block(PROBLEMS, verbs, chosen, MADE_BY)


def problem_in(split: str, family: str, index: int) -> Problem:
    problem = make_problem(f"{split}{family}{index}", family=family)
    return Problem(**{**{f.name: getattr(problem, f.name) for f in fields(Problem)}, "split": split})


def test_problems_come_from_train_only_and_evenly_from_the_families() -> None:
    pool = [
        problem_in(split, family, index)
        for split in ("train", "test")
        for family in ("puzzle", "two_hop", "chat")
        for index in range(9)
    ]
    picked = pick_problems(pool, SelfplaySettings(problems=6))
    assert {problem.split for problem in picked} == {"train"}
    assert [problem.family for problem in picked] == ["puzzle", "two_hop"] * 3
    assert {one.split for one in pick_problems(pool, SelfplaySettings(problems=6), split="test")} == {"test"}
    assert pick_problems(list(reversed(pool)), SelfplaySettings(problems=6)) == picked
    assert pick_problems(pool, SelfplaySettings(problems=6, seed=1)) != picked
    assert len(pick_problems(pool, SelfplaySettings(problems=99))) == 18
    assert len(pick_problems(pool, SelfplaySettings(problems=99, families=("puzzle", "puzzle")))) == 9


def test_an_unknown_family_or_key_is_refused() -> None:
    with pytest.raises(ValueError, match="families"):
        SelfplaySettings.model_validate({"families": ["puzzles"]})
    with pytest.raises(ValueError, match="simulation"):
        SelfplaySettings.model_validate({"simulation": 3})
