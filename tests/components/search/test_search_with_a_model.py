"""The search with a tiny language model and real tools: the same trees side by side or alone, nothing read twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from model_search import MADE_BY, CountingPolicy, play, problems, searching

from components.environment.step import start
from components.schema.proposal import ProposalRequest
from components.schema.trajectory import Action
from components.search.baselines import rejection_sampled, sample_within, spent_by
from components.search.mcts import search
from components.search.rows import content_hash, tree_rows
from components.search.schema import NodeRow
from components.search.settings import SelfplaySettings
from components.search.tree import Tree, walk
from components.search.verbs import Verbs
from components.search.worth import worth_by

CHOSEN = SelfplaySettings(simulations=9, most_arguments=3, trees=3)
IN_ADVANCE = SelfplaySettings(simulations=6, arguments_per_tool=2, most_arguments=3, trees=3)


def rows_of(tree: Tree, verbs: Verbs) -> tuple[NodeRow, ...]:
    return tree_rows(tree, greedy_success=False, provenance=MADE_BY, units=verbs.units, settings=CHOSEN)


@pytest.mark.parametrize("asked", [CHOSEN, IN_ADVANCE], ids=["when tried", "in advance"])
@pytest.mark.parametrize("selection", ["puct", "gumbel"])
def test_sixteen_trees_in_lockstep_are_node_by_node_those_grown_alone(selection: str, asked: SelfplaySettings) -> None:
    """In fp64 and at a low temperature: among 49152 words as likely as each other, the last digit of a sum decides."""
    settings = asked.model_copy(update={"selection": selection, "temperature": 0.05})
    with searching(settings, CountingPolicy(exact=True)) as (verbs, _, policy):
        together = search(problems(16), verbs, settings)
        alone = []
        for problem in problems(16):
            policy.forget()
            alone.append(search([problem], verbs, settings)[0])
    assert any(row.tool_result for tree in together for row in rows_of(tree, verbs))
    for one, other in zip(together, alone, strict=True):
        for left, right in zip(rows_of(one, verbs), rows_of(other, verbs), strict=True):
            for name, value in asdict(left).items():
                same = pytest.approx(asdict(right)[name], abs=1e-5) if isinstance(value, float) else asdict(right)[name]
                assert value == same, f"{left.node_id} {name}"


def test_trees_at_their_own_pace_are_those_that_wait_for_one_another() -> None:
    """Alone and together agree above; here also who waited: turns are written beside others that began before them."""
    found = []
    for own_pace in (True, False):
        with searching(CHOSEN, CountingPolicy(exact=True)) as (verbs, _, policy):
            asked = verbs if own_pace else replace(verbs, pen=None)
            trees = search(problems(), asked, CHOSEN.model_copy(update={"temperature": 0.05}))
            found.append([[(row.text, row.visits) for row in rows_of(tree, verbs)] for tree in trees])
            order = [request.seed for request, _ in policy.written]
            found.append(order)
    assert found[0] == found[2]
    assert sorted(found[1]) == sorted(found[3])
    assert found[1] != found[3], "some trees were ahead"


@pytest.mark.parametrize("leaves", [1, 2])
def test_several_leaves_of_a_tree_come_in_together_at_its_own_pace_too(leaves: int) -> None:
    settings = CHOSEN.model_copy(update={"leaves": leaves, "temperature": 0.05})
    found = []
    for own_pace in (True, False):
        with searching(settings, CountingPolicy(exact=True)) as (verbs, _, _):
            trees = search(problems(), verbs if own_pace else replace(verbs, pen=None), settings)
            assert all(way.virtual_loss == 0 for tree in trees for _, node in walk(tree.root) for way in node.ways)
            found.append([[(row.text, row.visits) for row in rows_of(tree, verbs)] for tree in trees])
    assert found[0] == found[1]


def read_once(policy: CountingPolicy) -> int:
    """Nodes of the trie of all that was read and written, but for the openings of calls: those are written anew."""
    known: set[tuple[int, ...]] = set()
    openings: set[tuple[int, ...]] = set()
    for request, action in policy.written:
        begun = len(request.context_ids)
        ids = request.context_ids + (action.message.token_ids or ())
        known.update(ids[:end] for end in range(1, len(ids) + 1))
        openings.update(ids[:end] for end in range(begun + 1, begun + 1 + opening_of(action)))
    for request in policy.decided:
        known.update(request.context_ids[:end] for end in range(1, len(request.context_ids) + 1))
    return len(known - openings)


def opening_of(action: Action) -> int:
    """Tokens of a turn before the first that the policy chose."""
    return action.written.index(True) if True in action.written else len(action.written)


def searched(policy: CountingPolicy) -> tuple[int, int]:
    """Tokens computed, and how many would be if each was once, but for openings and the end of each context, which is
    read again for every turn that goes on from it."""
    settings = CHOSEN.model_copy(update={"simulations": 10})
    with searching(settings, policy) as (verbs, _, _):
        trees = search(problems(), verbs, settings)
    states = sum(bool(node.ways) for tree in trees for _, node in walk(tree.root))
    decided = states * (len(policy.chat.call_opening) + 1)
    begun = sum(2 + opening_of(action) for _, action in policy.written)
    return policy.computed(), read_once(policy) + decided + begun


@pytest.mark.parametrize("slots", [6, 64])
def test_the_tokens_of_a_nodes_ancestors_are_computed_once(slots: int) -> None:
    computed, once = searched(CountingPolicy(slots=slots))
    assert computed <= once


@pytest.mark.parametrize("slots", [6, 64])
def test_without_kept_prefixes_ancestors_are_read_again(slots: int) -> None:
    """Else the test above could not fail."""
    computed, once = searched(CountingPolicy(slots=slots, kept_tokens=0))
    assert computed > once


def test_what_was_kept_changes_no_tree() -> None:
    trees = []
    for kept_tokens in (0, 300, 32768):
        with searching(CHOSEN, CountingPolicy(kept_tokens=kept_tokens)) as (verbs, _, _):
            trees.append([[row.text for row in rows_of(t, verbs)] for t in search(problems(), verbs, CHOSEN)])
    assert trees[0] == trees[1] == trees[2]


def test_heads_value_states_from_the_pass_that_reads_them() -> None:
    def heads(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return hidden.mean(1).sigmoid(), hidden.square().mean(1)

    with searching(CHOSEN) as (_, proposer, policy):
        states = [start(problem) for problem in problems(2)]
        estimates = proposer.values_by(policy, heads)(states)
        read = policy.computed()
        proposer.decide(states)
        proposer([ProposalRequest(state, 0, decision="search") for state in states])
        decided = policy.computed() - read - sum(len(a.message.token_ids or ()) for _, a in policy.written)
        assert decided < 12 * len(policy.written)  # the openings, and not the contexts again
        specs = policy.written[0][0].specs
        ids = [policy.chat.context_ids(state, specs) for state in states]
        slow = [
            policy.model(input_ids=torch.tensor([one]), output_hidden_states=True).hidden_states[-1][0, -1]
            for one in ids
        ]
    chances, costs = heads(torch.stack(slow))
    assert [pair[0] for pair in estimates] == pytest.approx(chances.tolist(), abs=1e-5)
    assert [pair[1] for pair in estimates] == pytest.approx(costs.tolist(), abs=1e-4)


def test_states_that_were_just_valued_are_decided_without_reading_them_again() -> None:
    with searching(CHOSEN) as (_, proposer, policy):
        states = [start(problem) for problem in problems(2)]
        proposer.features(policy, states)
        read = policy.computed()
        at_once = proposer.decide(states)
        assert policy.computed() == read
        proposer.decide(states[:1])
        assert policy.computed() > read, "other states are another question"
        for one, other in zip(at_once, proposer.decide(states), strict=True):
            assert one.probs == pytest.approx(other.probs, abs=1e-6)
        proposer([ProposalRequest(state, 0, decision="search") for state in states])
        read = policy.computed()
        proposer.decide(states)
        assert policy.computed() > read, "rows have changed in between"


def test_the_likelihood_of_the_reference_is_a_worth() -> None:
    with searching(CHOSEN) as (verbs, proposer, _):
        states = [start(problem) for problem in problems(3)]
        worths = worth_by(proposer.likelihoods)(states)
        assert all(0.0 < worth.chance < 1.0 and worth.cost_to_go == 0.0 for worth in worths)
        assert len({worth.chance for worth in worths}) == 3
        valued = replace(verbs, value=worth_by(proposer.likelihoods))
        (tree,) = search(problems(1), valued, CHOSEN)
    assert tree.root.value == pytest.approx(worths[0].chance)


def test_sampling_by_the_policy_gets_no_less_than_the_trees_did() -> None:
    with searching(CHOSEN) as (verbs, proposer, policy):
        trees = search(problems(3), verbs, CHOSEN)
        budgets = [spent_by(tree) for tree in trees]
        before = policy.computed()
        plays = sample_within(problems(3), budgets, proposer.act, verbs, max_depth=4, policy_id="sampled", seed=0)
    assert sum(budget.tokens for budget in budgets) == pytest.approx(before, rel=0.25)
    for budget, played in zip(budgets, plays, strict=True):
        assert played.spent.tokens >= budget.tokens or played.spent.calls > budget.calls
        assert all(one.outcome.success is not None for one in played.trajectories)
        kept = rejection_sampled(played, verbs.units)
        assert kept is None or kept.outcome.success


KILL = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from model_search import play
from components.search.settings import SelfplaySettings
def die(saved):
    if saved == 5:
        os.kill(os.getpid(), signal.SIGKILL)
play(Path(sys.argv[1]), SelfplaySettings.model_validate_json(os.environ["CHOSEN"]), on_save=die)
"""


def test_after_sigkill_in_the_middle_of_a_block_the_rerun_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", KILL, str(killed), str(root), str(root / "tests")]
    environment = {**os.environ, "CHOSEN": CHOSEN.model_dump_json()}
    assert subprocess.run(command, check=False, cwd=root, env=environment).returncode == -signal.SIGKILL
    assert len(list(killed.glob("*.parquet"))) == 5  # one whole block, and two trees of the next
    searched_again: list[int] = []
    rerun, uninterrupted = play(killed, CHOSEN, on_save=searched_again.append), play(whole, CHOSEN)
    assert len(searched_again) == 3
    assert content_hash(rerun.rows) == content_hash(uninterrupted.rows)
    assert rerun.trajectories == uninterrupted.trajectories
    roots = [row.problem_id for row in rerun.rows if row.parent_id is None]
    assert roots == [problem.problem_id for problem in problems()]
    assert len(list(killed.glob("*.parquet"))) == 6
