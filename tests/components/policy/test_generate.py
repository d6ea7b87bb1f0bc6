"""Generating: decisions are exact, arguments are valid, and a request's turn depends on nothing but the request."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import cache

import pytest
import torch
from tiny_models import SPECS, chat, leaning_llama, specs_of, tiny_llama, tiny_other, tiny_policy

from components.policy.floor import Talk
from components.policy.policy import Policy
from components.policy.turn import GenerateRequest, ScoreRequest
from components.schema.arguments import check_arguments
from components.schema.message import Message
from components.schema.tool import ToolSpec
from components.schema.trajectory import ANSWER, Action, StopReason
from components.tools.grammar import parse_turn

NAMES = ("search", "python", "delegate")
PROMPTS = ("What is the capital of Chad?", "2+2?", "Who are you?", "Name a river in Mali, please.")
CHOICE = ToolSpec(
    "choose",
    "Several arguments of other types.",
    {
        "type": "object",
        "properties": {
            "mode": {"type": "string", "enum": ["fast", "slow"]},
            "count": {"type": "integer"},
            "deep": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        },
        "required": ["mode", "count", "deep"],
        "additionalProperties": False,
    },
)


@cache
def policy() -> Policy:
    return tiny_policy()


@cache
def cramped() -> Policy:
    """The same policy, which does little at once."""
    return tiny_policy(slots=3, prefill_tokens=128)


def cold() -> Policy:
    """The policy with nothing in its cache."""
    policy().refresh([])
    return policy()


def _request(prompt: str = PROMPTS[0], names: tuple[str, ...] = NAMES, **changes: object) -> GenerateRequest:
    specs = specs_of(names)
    return replace(GenerateRequest(chat().prompt_ids(prompt, specs), specs), **changes)


def _mixed_requests() -> list[GenerateRequest]:
    free = [
        _request(prompt, seed=seed, temperature=1.0, answer_temperature=0.8, decision_temperature=1.0)
        for seed, prompt in enumerate(PROMPTS * 2)
    ]
    forced = [_request(PROMPTS[k % 4], decision=name, seed=k) for k, name in enumerate((*NAMES, ANSWER))]
    return [*free, *forced, _request(PROMPTS[1], names=("python",)), _request(PROMPTS[1], names=())]


def _same(first: Action, second: Action) -> bool:
    close = torch.allclose(torch.tensor(first.logprobs), torch.tensor(second.logprobs), atol=1e-4)
    return close and replace(first, logprobs=None, decision_probs=None) == replace(
        second, logprobs=None, decision_probs=None
    )


def _slow_decisions(model: torch.nn.Module, request: GenerateRequest) -> dict[str, float]:
    """The definition: the product of the token probabilities of each opening; the answer has the rest."""
    probs = {}
    for spec in request.specs:
        ids = (*request.context_ids, *chat().call_opening, *chat().encode(spec.name))
        logprobs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        start = len(request.context_ids)
        probs[spec.name] = float(torch.stack([logprobs[p - 1, ids[p]] for p in range(start, len(ids))]).sum().exp())
    return {ANSWER: 1.0 - sum(probs.values()), **probs}


def test_a_turn_does_not_depend_on_what_else_is_in_the_batch() -> None:
    requests = _mixed_requests()
    together, small_batches = cold().generate(requests), cramped().generate(requests)
    assert {action.decision for action in together} == {ANSWER, *NAMES}
    for request, one, other in zip(requests, together, small_batches, strict=True):
        (alone,) = cold().generate([request])
        assert _same(alone, one)
        assert _same(alone, other)


def test_a_turn_does_not_depend_on_what_the_cache_still_holds() -> None:
    requests = [_request(prompt, seed=k, temperature=1.0) for k, prompt in enumerate(PROMPTS)]
    first = cold().generate([replace(request, decision="search") for request in requests])
    later = []
    for request, action in zip(requests, first, strict=True):
        told = chat().message_ids(action.message) + chat().message_ids(Message("tool", "Bamako is a city."))
        later.append(replace(request, context_ids=request.context_ids + told))
    warm, again, fresh = policy().generate(later), policy().generate(later), cold().generate(later)
    for one, other, third in zip(warm, fresh, again, strict=True):
        assert _same(one, other)
        assert _same(one, third)


def test_deciding_first_changes_nothing() -> None:
    requests = _mixed_requests()
    decided = cold().decide(requests)
    warm = policy().generate(requests)
    for one, other in zip(warm, cold().generate(requests), strict=True):
        assert _same(one, other)
    assert decided[-1] == {ANSWER: 1.0}


@torch.no_grad()
def test_a_decision_is_the_product_of_its_openings_token_probabilities() -> None:
    model = leaning_llama()
    for probs, request in zip(policy().decide([_request(p) for p in PROMPTS]), map(_request, PROMPTS), strict=True):
        slow = _slow_decisions(model, request)
        assert probs == pytest.approx(slow, abs=1e-4)
        assert sum(probs.values()) == pytest.approx(1.0)
        assert min(slow.values()) > 1e-3, "the model of this test must make every decision possible"


def test_free_decisions_follow_their_probabilities() -> None:
    (probs,) = policy().decide([_request()])
    actions = policy().generate([_request(decision_temperature=1.0, seed=seed) for seed in range(200)])
    for name, expected in probs.items():
        share = sum(action.decision == name for action in actions) / len(actions)
        assert abs(share - expected) < 0.12
        assert all(action.decision_probs == pytest.approx(probs, abs=1e-5) for action in actions)
    (greedy,) = policy().generate([_request()])
    assert greedy.decision == max(probs, key=lambda name: probs[name])


def test_a_forced_decision_is_taken() -> None:
    for name in (*NAMES, ANSWER):
        (action,) = policy().generate([_request(decision=name)])
        assert action.decision == name
        assert (action.call is None) == (name == ANSWER)
        assert name == ANSWER or action.message.content.startswith(f'<tool_call>{{"name": "{name}"')


def test_without_tools_every_turn_is_an_answer() -> None:
    (action,) = policy().generate([_request(names=(), decision_temperature=1.0)])
    assert (action.decision, action.decision_probs) == (ANSWER, None)


@pytest.mark.parametrize("tools", [(), NAMES])
@torch.no_grad()
def test_a_greedy_answer_is_the_models_greedy_continuation_given_that_no_call_opens(tools: tuple[str, ...]) -> None:
    for acting in (policy(), tiny_policy(tiny_llama(5))):
        for prompt in PROMPTS[:2]:
            request = _request(prompt, names=tools, decision=ANSWER, max_answer_tokens=12)
            ids = list(request.context_ids)
            while len(ids) < len(request.context_ids) + 12 and ids[-1] != chat().end_id:
                logits = acting.model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
                if tools and len(ids) == len(request.context_ids):
                    logits[chat().call_opening[0]] = -torch.inf
                ids.append(int(logits.argmax()))
            (action,) = acting.generate([request])
            assert list(action.message.token_ids or ()) == ids[len(request.context_ids) :]


def test_arguments_are_valid_or_cut_off_even_from_a_random_model_at_a_high_temperature() -> None:
    ended = {StopReason.TRUNCATED: 0, None: 0}
    for spec in (*SPECS.values(), CHOICE):
        context = chat().prompt_ids("Go on.", (spec,))
        requests = [
            GenerateRequest(context, (spec,), decision=spec.name, temperature=1.5, seed=s, max_argument_tokens=24)
            for s in range(12)
        ]
        for action in policy().generate(requests):
            ended[action.stop] += 1
            if action.stop is None:
                assert action.call is not None
                assert check_arguments(spec, action.call.arguments) == ()
                assert parse_turn(action.message.content, (spec,)).call == action.call
            else:
                assert sum(action.written) == 24
    assert min(ended.values()) >= 5


def test_a_context_that_does_not_fit_is_cut_off_and_leaves_its_batch_alone() -> None:
    fitting = [_request(p) for p in PROMPTS]
    long = _request("word " * 700)
    actions = cold().generate([fitting[0], long, *fitting[1:]])
    assert actions[1].stop == StopReason.TRUNCATED
    assert actions[1].message.token_ids == ()
    for one, other in zip([actions[0], *actions[2:]], cold().generate(fitting), strict=True):
        assert _same(one, other)
    assert cold().generate([long])[0].stop == StopReason.TRUNCATED


@pytest.mark.parametrize("decision", [*NAMES, ANSWER])
def test_recorded_logprobs_are_what_scoring_the_same_tokens_gives(decision: str) -> None:
    requests = [_request(p, decision=decision, seed=k, temperature=0.7) for k, p in enumerate(PROMPTS)]
    actions = policy().generate(requests)
    whole = [r.context_ids + (a.message.token_ids or ()) for r, a in zip(requests, actions, strict=True)]
    starts = [len(r.context_ids) for r in requests]
    scores = policy().score([ScoreRequest(ids, start) for ids, start in zip(whole, starts, strict=True)])
    for request, action, score in zip(requests, actions, scores, strict=True):
        recorded = list(action.logprobs or ())
        if decision == ANSWER:  # the first token of an answer is drawn given that no call opens
            ids = (*request.context_ids, chat().call_opening[0])
            ((opens,),) = policy().score([ScoreRequest(ids, len(ids) - 1)])
            recorded[0] += float(torch.log1p(-torch.tensor(opens).exp()))
        for chosen, one, other in zip(action.written, recorded, score, strict=True):
            assert not chosen or one == pytest.approx(other, abs=1e-4)


def test_after_a_change_of_weights_the_policy_acts_on_the_new_ones() -> None:
    model, fresh = leaning_llama(), leaning_llama()
    changing = tiny_policy(model)
    changing.decide([_request()])
    with torch.no_grad():
        for each in (model, fresh):
            each.model.layers[1].mlp.down_proj.weight.add_(0.2)
            each.model.norm.weight.mul_(1.3)
    changing.refresh([1])
    (before,), (after,) = changing.decide([_request()]), tiny_policy(fresh).decide([_request()])
    assert before == pytest.approx(after, abs=1e-5)
    assert before != pytest.approx(policy().decide([_request()])[0], abs=1e-3)


@pytest.mark.parametrize("family", ["gpt_neox", "qwen2"])
@torch.no_grad()
def test_other_model_families_are_carried_by_the_slow_session(family: str) -> None:
    model = tiny_other(family)
    carried = tiny_policy(model)
    request = _request(max_answer_tokens=5, max_argument_tokens=5)
    assert carried.decide([request])[0] == pytest.approx(_slow_decisions(model, request), abs=1e-6)
    answer, call = carried.generate([replace(request, decision=ANSWER), replace(request, decision="delegate")])
    assert (answer.decision, call.decision) == (ANSWER, "delegate")
    ids = request.context_ids + (answer.message.token_ids or ())
    logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    (score,) = carried.score([ScoreRequest(ids, len(request.context_ids) + 1)])
    expected = [float(logprobs[p - 1, ids[p]]) for p in range(len(request.context_ids) + 1, len(ids))]
    assert list(score) == pytest.approx(expected, abs=1e-4)


def test_a_context_that_the_model_cannot_read_is_cut_off_however_much_the_request_allows() -> None:
    short = tiny_policy(tiny_llama(2, positions=128))
    fitting = _request(PROMPTS[1], names=(), max_answer_tokens=4, max_argument_tokens=4)
    long = replace(fitting, context_ids=(5,) * 120, max_context_tokens=10**6)
    alone, beside = short.generate([fitting])[0], short.generate([fitting, long])
    assert beside[1].stop is StopReason.TRUNCATED
    assert _same(beside[0], alone)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ScoreRequest((1, 2, 3), 0), "position 0"),
        (ScoreRequest((1, 2, 3), 3), "position 3"),
        (ScoreRequest((), 1), "position 1"),
        (ScoreRequest((1, 10**6), 1), "token id"),
        (ScoreRequest((1,) * 5000, 1), "5000 tokens"),
    ],
)
def test_what_cannot_be_scored_is_named(request_: ScoreRequest, reason: str) -> None:
    with pytest.raises(ValueError, match="request 1: ") as raised:
        policy().score([ScoreRequest((1, 2), 1), request_])
    assert reason in str(raised.value)


def _refused(action: Action) -> str:
    assert action.stop is StopReason.REFUSED
    assert action.message.token_ids == ()
    return action.message.content


def test_a_request_that_cannot_be_carried_out_says_why_and_leaves_its_batch_alone() -> None:
    schema = {"type": "object", "properties": {"x": {"enum": []}}, "required": ["x"]}
    nothing = ToolSpec("nothing", "Has no valid argument.", schema)
    fitting = [_request(p) for p in PROMPTS]
    bad = [
        _request(context_ids=()),
        _request(context_ids=(1, 10**6)),
        _request(decision="fly"),
        GenerateRequest(fitting[0].context_ids, (nothing,), decision="nothing"),
    ]
    actions = cold().generate([fitting[0], *bad, *fitting[1:]])
    reasons = [_refused(action) for action in actions[1:5]]
    for reason, expected in zip(reasons, ("empty", "token id", "'fly'", "grammar"), strict=True):
        assert expected in reason
    for one, other in zip([actions[0], *actions[5:]], cold().generate(fitting), strict=True):
        assert _same(one, other)


def test_logits_that_are_not_numbers_end_only_the_turns_that_meet_them() -> None:
    model = leaning_llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[chat().encode("2")[0]] = float("nan")
    broken = tiny_policy(model)
    meets, other = broken.generate([_request(PROMPTS[1], decision=ANSWER), _request(PROMPTS[2], decision=ANSWER)])
    assert meets.written == ()
    assert meets.logprobs == ()
    assert "not numbers" in _refused(meets)
    assert _same(other, cold().generate([_request(PROMPTS[2], decision=ANSWER)])[0])
    assert "not numbers" in _refused(broken.generate([_request(PROMPTS[1])])[0])


def test_a_cancelled_turn_ends_at_the_next_token_and_the_others_go_on() -> None:
    wish = threading.Event()
    seen: list[Action] = []

    def talk(request: GenerateRequest, *, cancels: bool) -> Talk[Action]:
        action: Action = yield request
        if cancels:
            wish.set()
        seen.append(action)
        return action

    short = _request(PROMPTS[2], decision=ANSWER, max_answer_tokens=2, min_answer_tokens=2)
    long = _request(PROMPTS[0], decision=ANSWER, max_answer_tokens=30, min_answer_tokens=30, cancelled=wish)
    other = replace(long, cancelled=None, seed=3)
    talks = [talk(short, cancels=True), talk(long, cancels=False), talk(other, cancels=False)]
    _, ended, whole = cold().converse(talks)
    assert ended.stop is StopReason.CANCELLED
    assert len(ended.message.token_ids or ()) < 5
    assert len(whole.message.token_ids or ()) == 30


def test_conversations_longer_than_the_rows_take_their_turns() -> None:
    def talk(prompt: str, turns: int) -> Talk[list[Action]]:
        actions, context = [], _request(prompt).context_ids
        for turn in range(turns):
            action: Action = yield _request(prompt, context_ids=context, decision="search")
            actions.append(action)
            context += chat().message_ids(action.message) + chat().message_ids(Message("tool", f"result {turn}"))
        return actions

    plan = [(PROMPTS[k % 4], 1 + k % 3) for k in range(9)]
    many = cramped().converse([talk(*one) for one in plan])
    assert [len(actions) for actions in many] == [turns for _, turns in plan]
    for one, actions in zip(plan, many, strict=True):
        for action, alone in zip(actions, cold().converse([talk(*one)])[0], strict=True):
            assert _same(action, alone)


def test_a_conversation_may_begin_with_a_call_and_may_end_at_once() -> None:
    def calls_first() -> Talk[str]:
        future: Future[str] = Future()
        future.set_result("told")
        said: str = yield future
        action: Action = yield _request(decision=ANSWER)
        return f"{said} {action.decision}"

    def says_nothing() -> Talk[str]:
        return "nothing"
        yield

    assert cold().converse([calls_first(), says_nothing(), calls_first()]) == ["told answer", "nothing", "told answer"]


def test_nothing_asked_is_nothing_done() -> None:
    assert policy().generate([]) == policy().decide([]) == policy().score([]) == []
