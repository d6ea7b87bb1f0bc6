"""Distillation hears what the model itself would decide: its likeliest decision at every judged root, and no more."""

from __future__ import annotations

from dataclasses import replace

import torch
from doubles import make_problem
from tiny_models import chat, encoder, leaning_llama
from toy_groups import bandit, vocabulary

from components.schema.trajectory import ANSWER
from components.training.losses import decision_log_probs
from components.training.own_choices import CHOICE, own_choices


def test_each_root_teaches_the_models_own_likeliest_decision_and_nothing_else() -> None:
    model, problems = leaning_llama(), {p.problem_id: p for p in (make_problem(f"Number {n}?") for n in range(4))}
    tried = [t for p in problems.values() for t in bandit({ANSWER: 1.0, "search": 0.0, "python": 0.0}, p).trajectories]
    chosen = own_choices(model, tried, problems, encoder(), vocabulary(), tokens_per_pass=512)
    assert [one.problem_id for one in chosen] == list(problems)
    order = (ANSWER, *vocabulary().names)
    for one in chosen:
        context = encoder().context(problems[one.problem_id])
        with torch.no_grad():
            (row,) = decision_log_probs(model, [context], chat().call_opening, list(vocabulary().names.values()))
        assert one.forced[0] == order[int(row.argmax())]
        assert len(one.transitions) == 1
        taught = encoder().example(one, problems[one.problem_id], CHOICE)
        assert not taught.arguments
        assert not taught.answers
        assert bool(taught.calls) == (one.forced[0] != ANSWER)


def test_what_nobody_forced_and_what_no_problem_is_known_of_is_left_out() -> None:
    problem = make_problem("Number 1?")
    first, second = bandit({ANSWER: 1.0, "search": 0.0}, problem).trajectories
    tried = [replace(first, forced=()), replace(second, problem_id="unknown")]
    known = {problem.problem_id: problem}
    assert own_choices(leaning_llama(), tried, known, encoder(), vocabulary(), tokens_per_pass=512) == ()
