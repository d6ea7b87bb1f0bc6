"""Self-play: search many problems, block by block, so that a killed run continues with no tree lost or doubled.

Takes problems, the verbs of the search and two functions that save and load a block; gives the blocks one by one.
A block is named after everything that decides its content, so a saved block is used again only where it would come
out the same. Does not open files, start tools or load a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from components.schema.identity import stable_hash
from components.schema.problem import Problem
from components.schema.trajectory import Trajectory
from components.search.best import cheapest_correct
from components.search.greedy import greedy_successes
from components.search.puct import search
from components.search.rows import Provenance, tree_rows
from components.search.schema import NodeRow
from components.search.settings import SelfplaySettings
from components.search.tree import Tree
from components.search.verbs import Verbs


@dataclass(frozen=True, slots=True)
class Block:
    """What the search of up to B problems found."""

    rows: tuple[NodeRow, ...]
    """Every node, tree by tree in the order of the problems."""
    trajectories: tuple[Trajectory, ...]
    """The cheapest correct path of each solved problem."""


LoadBlock = Callable[[str], Block | None]
"""The saved block of that name; None if there is none."""
SaveBlock = Callable[[str, Block], None]
"""Save a block under a name; whole or not at all."""


def pick_problems(problems: Sequence[Problem], settings: SelfplaySettings) -> tuple[Problem, ...]:
    """At most `settings.problems` distinct train problems, each family in turn, in an order that the seed decides."""
    queues = [_queue(problems, family, settings.seed) for family in dict.fromkeys(settings.families)]
    longest = max(len(queue) for queue in queues)
    in_turn = [queue[index] for index in range(longest) for queue in queues if index < len(queue)]
    return tuple(in_turn[: settings.problems])


def _queue(problems: Sequence[Problem], family: str, seed: int) -> list[Problem]:
    of_family = {p.problem_id: p for p in problems if p.family == family and p.split == "train"}
    return [of_family[key] for key in sorted(of_family, key=lambda key: stable_hash([seed, key]))]


def selfplay(
    problems: Sequence[Problem],
    verbs: Verbs,
    settings: SelfplaySettings,
    *,
    provenance: Provenance,
    load_block: LoadBlock,
    save_block: SaveBlock,
) -> Iterator[Block]:
    """The blocks in order, each loaded if it was saved before, else searched and saved."""
    for first in range(0, len(problems), settings.trees):
        members = problems[first : first + settings.trees]
        name = block_name(members, settings, provenance)
        block = load_block(name)
        if block is None:
            block = search_block(members, verbs, settings, provenance)
            save_block(name, block)
        yield block


def block_name(problems: Sequence[Problem], settings: SelfplaySettings, provenance: Provenance) -> str:
    """A name that changes with anything that changes the block: weights, data, search settings, problems."""
    searched_with = settings.model_dump(mode="json", exclude={"problems", "families", "trees", "min_visits"})
    ids = [problem.problem_id for problem in problems]
    return stable_hash([provenance.model_digest, provenance.data_digest, searched_with, ids])


def search_block(
    problems: Sequence[Problem], verbs: Verbs, settings: SelfplaySettings, provenance: Provenance
) -> Block:
    """Search the problems in lockstep and write down what was found."""
    trees = search(problems, verbs, settings)
    greedy = greedy_successes(trees, verbs, settings)
    rows = [
        row
        for tree, success in zip(trees, greedy, strict=True)
        for row in tree_rows(tree, greedy_success=success, provenance=provenance, units=verbs.units)
    ]
    found = (best_of(tree, verbs, settings, provenance) for tree in trees)
    return Block(rows=tuple(rows), trajectories=tuple(trajectory for trajectory in found if trajectory is not None))


def best_of(tree: Tree, verbs: Verbs, settings: SelfplaySettings, provenance: Provenance) -> Trajectory | None:
    """The tree's cheapest correct path, named after the weights that searched."""
    policy_id = f"search:{provenance.model_digest}"
    return cheapest_correct(tree, policy_id=policy_id, seed=settings.seed, units=verbs.units)


def join_blocks(blocks: Sequence[Block]) -> Block:
    """All blocks as one."""
    return Block(
        rows=tuple(row for block in blocks for row in block.rows),
        trajectories=tuple(trajectory for block in blocks for trajectory in block.trajectories),
    )
