"""Doubles for tests of the search: a scripted policy in a world of words, with an environment that needs no tools.

A world says which turns a policy proposes after which turns; the turn `right` is the correct answer, other words are
wrong answers, and `call:WORD` is a search for WORD, answered with `found WORD` at the price of one unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from components.schema.cost import Cost
from components.schema.identity import stable_hash
from components.schema.message import Message, ToolCall, ToolResult
from components.schema.problem import Budget, CheckerSpec, Problem, Reference
from components.schema.proposal import Choice, Proposal, ProposalRequest
from components.schema.trajectory import ANSWER, Action, State, Transition
from components.search.settings import SelfplaySettings
from components.search.verbs import Verbs
from components.search.worth import Worth

World = Callable[[State], Sequence[tuple[str, float]]]
"""Turns proposed at a state, with their priors."""

CALL_COST = Cost(calls=1, seconds=0.5, money=0.5)


def make_problem(name: str, *, family: str = "puzzle", prompt: str | None = None) -> Problem:
    """A problem that nothing but its name sets apart."""
    return Problem(
        problem_id=stable_hash(["toy", name]),
        prompt=prompt or f"Find the word for {name}.",
        tool_names=("search",),
        reference=Reference(text="It is right.", answer="right"),
        checker=CheckerSpec("phrase"),
        budget=Budget(max_calls=9),
        family=family,
        slices=(family,),
        group=name,
        split="train",
    )


def make_action(turn: str) -> Action:
    """The action of a turn; each character is a token."""
    call = ToolCall("search", {"query": turn.removeprefix("call:")}) if turn.startswith("call:") else None
    message = Message("assistant", turn, token_ids=tuple(map(ord, turn)))
    decision = ANSWER if call is None else call.name
    return Action(message=message, decision=decision, written=(True,) * len(turn), logprobs=None, call=call)


def turns_of(state: State) -> tuple[str, ...]:
    """What the policy wrote so far."""
    return tuple(message.content for message in state.messages if message.role == "assistant")


def step(state: State, action: Action) -> tuple[State, Transition]:
    """The toy environment's step: an answer ends it, a search finds what it looked for."""
    messages = (*state.messages, action.message)
    if action.call is None:
        return replace(state, messages=messages, done=True), Transition(action=action, results=(), cost=Cost())
    result = ToolResult(f"found {action.call.arguments['query']}", is_error=False, cost=CALL_COST)
    following = replace(
        state,
        messages=(*messages, Message("tool", result.content)),
        spent=state.spent + CALL_COST,
        calls=(*state.calls, (action.call, result)),
    )
    return following, Transition(action=action, results=(result,), cost=CALL_COST)


@dataclass
class Counts:
    """How often the verbs were used, and with how many states at once."""

    proposed: list[int]
    stepped: list[int]
    decided: list[int]


def in_advance(**changes: object) -> SelfplaySettings:
    """Settings under which all that a world lists at a state is written at once, and nothing afterwards."""
    return SelfplaySettings.model_validate({"arguments_per_tool": 3, "most_arguments": 1, **changes})


def _propose(world: World, request: ProposalRequest) -> list[Proposal]:
    """What the world offers; samples of one decision are what it lists, then the word `more` with a number that comes
    round every three draws."""
    if request.decision is None:
        return [Proposal(make_action(turn), prior, context_tokens=7) for turn, prior in world(request.state)]
    listed = [turn for turn, _ in world(request.state) if make_action(turn).decision == request.decision]
    more = f"{'' if request.decision == ANSWER else 'call:'}more{request.drawn % 3}"
    turn = listed[request.drawn] if request.drawn < len(listed) else more
    return [Proposal(make_action(turn), 1.0, context_tokens=7)]


def _decide(world: World, state: State) -> Choice:
    """The decisions of what the world lists, with the sums of their priors."""
    masses: defaultdict[str, float] = defaultdict(float)
    for turn, prior in world(state):
        masses[make_action(turn).decision] += prior
    return Choice({name: mass / sum(masses.values()) for name, mass in masses.items()}, context_tokens=7)


def make_verbs(world: World, *, chance: Callable[[State], float] = lambda state: 0.0) -> tuple[Verbs, Counts]:
    """The verbs of a search in a world, and a count of their use."""
    counts = Counts([], [], [])

    def propose(requests: Sequence[ProposalRequest]) -> list[list[Proposal]]:
        counts.proposed.append(len(requests))
        return [_propose(world, request) for request in requests]

    def decide(states: Sequence[State]) -> list[Choice]:
        counts.decided.append(len(states))
        return [_decide(world, state) for state in states]

    def step_many(
        states: Sequence[State], actions: Sequence[Action], *, prompt_tokens: Sequence[int]
    ) -> list[tuple[State, Transition]]:
        assert list(prompt_tokens) == [7] * len(states)
        counts.stepped.append(len(states))
        return [step(state, action) for state, action in zip(states, actions, strict=True)]

    verbs = Verbs(
        propose=propose,
        value=lambda states: [Worth(chance(state)) for state in states],
        judge=lambda problem, answer: answer == problem.reference.answer,
        step_many=step_many,
        units=lambda cost: cost.money + cost.seconds,
        decide=decide,
        charge=lambda decision: Cost() if decision == ANSWER else CALL_COST,
    )
    return verbs, counts


def random_world(seed: int, *, most: int = 4) -> World:
    """A world of random turns and priors, the same for the same seed; some turns are proposed twice."""

    def world(state: State) -> list[tuple[str, float]]:
        random = Random(stable_hash([seed, state.problem.problem_id, turns_of(state)]))
        words = ["right", "wrong", "worse", "call:a", "call:b", "call:c", "call:d"]
        return [
            (random.choice(words), random.random() + 0.01) for _ in range(random.randint(0 if seed % 3 else 1, most))
        ]

    return world
