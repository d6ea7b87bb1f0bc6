"""Self-play: search many problems, block by block, so that a killed run continues with no tree lost or doubled.

Takes problems, the verbs of the search and two functions that save and load a tree; gives what was found, tree by tree.
Trees are saved one by one, each under a name made of everything that decides its content, so that a saved tree is used
again only where it would come out the same. A block of which a tree is missing is searched again as a whole: numbers
depend a little on what is computed side by side, and so the result is that of a run that was never stopped. Does not
open files, start tools or load a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from components.schema.identity import stable_hash
from components.schema.problem import Problem, Split
from components.schema.trajectory import Trajectory
from components.search.audit import audit
from components.search.baselines import rejection_sampled, sample_within, spent_by
from components.search.best import cheapest_correct
from components.search.greedy import greedy_successes
from components.search.mcts import search
from components.search.rows import Provenance, tree_rows
from components.search.schema import NodeRow
from components.search.settings import SelfplaySettings
from components.search.tree import Tree
from components.search.verbs import Verbs


@dataclass(frozen=True, slots=True)
class Found:
    """What the search of a problem, or of several, found."""

    rows: tuple[NodeRow, ...]
    """Every node, tree by tree in the order of the problems."""
    trajectories: tuple[Trajectory, ...]
    """The cheapest correct path, or play, of each solved problem."""


LoadTree = Callable[[str], Found | None]
"""The saved tree of that name; None if there is none."""
SaveTree = Callable[[str, Found], None]
"""Save a tree under a name; whole or not at all."""


def pick_problems(
    problems: Sequence[Problem], settings: SelfplaySettings, *, split: Split = "train"
) -> tuple[Problem, ...]:
    """At most `settings.problems` distinct problems of a split, each family in turn, in an order by the seed."""
    of_split = [problem for problem in problems if problem.split == split]
    queues = [_queue(of_split, family, settings.seed) for family in dict.fromkeys(settings.families)]
    longest = max(len(queue) for queue in queues)
    in_turn = [queue[index] for index in range(longest) for queue in queues if index < len(queue)]
    return tuple(in_turn[: settings.problems])


def _queue(problems: Sequence[Problem], family: str, seed: int) -> list[Problem]:
    of_family = {p.problem_id: p for p in problems if p.family == family}
    return [of_family[key] for key in sorted(of_family, key=lambda key: stable_hash([seed, key]))]


def selfplay(
    problems: Sequence[Problem],
    open_verbs: Callable[[], Verbs],
    settings: SelfplaySettings,
    *,
    provenance: Provenance,
    load_tree: LoadTree,
    save_tree: SaveTree,
) -> Iterator[Found]:
    """What was found, problem by problem: loaded where the whole block was saved before, else searched and saved.

    `open_verbs` is called at most once, when a block is to be searched: where all were saved no model is needed.
    """
    verbs: Verbs | None = None
    for members in _blocks(problems, settings):
        names = [tree_name(problem, settings, provenance) for problem in members]
        saved = [load_tree(name) for name in names]
        block = [found for found in saved if found is not None]
        if len(block) < len(members):
            verbs = verbs or open_verbs()
            block = search_block(members, verbs, settings, provenance)
            for name, found in zip(names, block, strict=True):
                save_tree(name, found)
        yield from block


def missing_blocks(
    problems: Sequence[Problem], settings: SelfplaySettings, *, provenance: Provenance, load_tree: LoadTree
) -> tuple[tuple[Problem, ...], ...]:
    """The blocks that `selfplay` would search: for those who search them elsewhere and save the trees."""
    return tuple(
        block
        for block in _blocks(problems, settings)
        if any(load_tree(tree_name(problem, settings, provenance)) is None for problem in block)
    )


def _blocks(problems: Sequence[Problem], settings: SelfplaySettings) -> list[tuple[Problem, ...]]:
    """Problems whose trees grow in lockstep."""
    return [tuple(problems[first : first + settings.trees]) for first in range(0, len(problems), settings.trees)]


def tree_name(problem: Problem, settings: SelfplaySettings, provenance: Provenance) -> str:
    """A name that changes with anything that changes the tree or its rows: weights, data, search settings, problem."""
    searched_with = settings.model_dump(mode="json", exclude={"problems", "families", "trees"})
    return stable_hash([provenance.model_digest, provenance.data_digest, searched_with, problem.problem_id])


def search_block(
    problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings, provenance: Provenance
) -> list[Found]:
    """Search the problems in lockstep and write down what was found, tree by tree."""
    verbs.forget()
    trees = search(problems, verbs, settings)
    audit(trees, verbs, settings)
    block = []
    taught = _taught(trees, verbs, settings, provenance.model_digest)
    for tree, success, best in zip(trees, greedy_successes(trees, verbs, settings), taught, strict=True):
        rows = tree_rows(tree, greedy_success=success, provenance=provenance, units=verbs.units, settings=settings)
        block.append(Found(rows=rows, trajectories=() if best is None else (best,)))
    return block


def _taught(trees: Sequence[Tree], verbs: Verbs, settings: SelfplaySettings, digest: str) -> list[Trajectory | None]:
    """What each tree's problem teaches: see `SelfplaySettings.teacher`."""
    if settings.teacher == "search":
        seed, units = settings.seed, verbs.units
        return [cheapest_correct(tree, policy_id=f"search:{digest}", seed=seed, units=units) for tree in trees]
    if verbs.act is None:
        raise ValueError("teacher sampling needs a policy that acts: there is no verb `act`")
    plays = sample_within(
        [tree.root.state.problem for tree in trees],
        [spent_by(tree) for tree in trees],
        verbs.act,
        verbs,
        max_depth=settings.max_depth,
        policy_id=f"sampling:{digest}",
        seed=settings.seed,
    )
    return [rejection_sampled(one, verbs.units) for one in plays]


def join(parts: Sequence[Found]) -> Found:
    """All parts as one."""
    return Found(
        rows=tuple(row for part in parts for row in part.rows),
        trajectories=tuple(trajectory for part in parts for trajectory in part.trajectories),
    )
