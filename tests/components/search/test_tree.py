"""Rules of nodes and edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_search import make_action

from components.schema.message import Message, ToolCall
from components.schema.proposal import Proposal
from components.schema.trajectory import Action
from components.search.tree import make_edges


def proposals(*turns: tuple[str, float]) -> list[Proposal]:
    return [Proposal(make_action(turn), prior) for turn, prior in turns]


def test_equal_actions_become_one_edge_with_the_sum_of_their_priors() -> None:
    edges = make_edges(proposals(("call:a", 0.2), ("no", 0.3), ("call:a", 0.3)))
    assert [(edge.action.message.content, edge.prior) for edge in edges] == [
        ("call:a", pytest.approx(0.625)),
        ("no", pytest.approx(0.375)),
    ]


def test_calls_are_equal_by_decision_and_arguments_however_they_were_written() -> None:
    def call(text: str, arguments: dict[str, object]) -> Proposal:
        action = Action(Message("assistant", text), "search", (), None, ToolCall("search", arguments))
        return Proposal(action, 0.5)

    assert len(make_edges([call("x", {"a": 1, "b": 2}), call("y", {"b": 2, "a": 1})])) == 1
    assert len(make_edges([call("x", {"a": 1}), call("x", {"a": 2})])) == 2


def test_rank_counts_the_edges_of_one_decision_best_first() -> None:
    edges = make_edges(proposals(("call:a", 0.1), ("no", 0.3), ("call:b", 0.5), ("yes", 0.1)))
    assert [(edge.action.message.content, edge.rank) for edge in edges] == [
        ("call:b", 0),
        ("no", 0),
        ("call:a", 1),
        ("yes", 1),
    ]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "call:a", "call:b"]), st.floats(0.001, 1.0)), min_size=1))
def test_priors_of_siblings_sum_to_one_and_fall(turns: list[tuple[str, float]]) -> None:
    priors = [edge.prior for edge in make_edges(proposals(*turns))]
    assert sum(priors) == pytest.approx(1.0)
    assert priors == sorted(priors, reverse=True)


@pytest.mark.parametrize("prior", [-0.1, float("nan"), float("inf")])
def test_a_prior_that_is_no_weight_is_refused(prior: float) -> None:
    with pytest.raises(ValueError, match="is not a weight"):
        make_edges(proposals(("a", prior)))


def test_priors_that_are_all_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="all priors"):
        make_edges(proposals(("a", 0.0)))
