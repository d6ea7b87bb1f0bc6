"""A search by a tiny model through the real index and interpreter, for tests here and in processes that they end.

Takes sizes; gives verbs, problems and self-play in a folder. A policy may count the tokens that it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from doubles import PASSAGES, make_problem
from tiny_models import leaning_llama, tokenizer
from torch import Tensor

from components.environment.step import step_many
from components.policy.floor import Floor, Talk
from components.policy.policy import Policy
from components.policy.propose import Proposer, make_propose
from components.policy.session import Session
from components.policy.settings import PolicySettings
from components.policy.turn import GenerateRequest
from components.reward.checkers import check
from components.schema.cost import Cost
from components.schema.problem import Budget, Problem
from components.schema.trajectory import ANSWER, Action
from components.search.rows import Provenance
from components.search.selfplay import Found, join, selfplay
from components.search.settings import SelfplaySettings
from components.search.store import load_tree, save_tree
from components.search.verbs import Verbs
from components.search.worth import uninformed
from components.tools.open_toolbox import open_toolbox
from components.tools.prices import PriceSheet
from components.tools.settings import ToolSettings

PROMPTS = (
    "Capital of Chad?",
    "Who lives in Mali?",
    "Languages of Chad?",
    "What is 12 * 34?",
    "Bamako?",
    "Area of Mali?",
)
MADE_BY = Provenance("tiny", "data")


class CountingSession:
    """A session that counts the tokens it is given to compute."""

    def __init__(self, inner: Session) -> None:
        self._inner, self.appended = inner, 0

    def append(self, rows: Sequence[int], tokens: Sequence[Sequence[int]], keep: Sequence[int]) -> list[Tensor]:
        self.appended += sum(map(len, tokens))
        return self._inner.append(rows, tokens, keep)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class NotingFloor:
    """A floor that notes what is asked and written on it."""

    def __init__(self, floor: Floor, written: list[tuple[GenerateRequest, Action]]) -> None:
        self._floor, self._written = floor, written

    @property
    def busy(self) -> bool:
        return self._floor.busy

    def round(self) -> bool:
        return self._floor.round()

    def add(self, talk: Talk[Any], ended: Callable[[Any], None]) -> None:
        self._floor.add(self._noting(talk), ended)

    def _noting(self, talk: Talk[Any]) -> Talk[Any]:
        request = next(talk)
        while True:
            action = yield request
            assert isinstance(request, GenerateRequest)
            self._written.append((request, action))
            try:
                request = talk.send(action)
            except StopIteration as end:
                return end.value


class CountingPolicy(Policy):
    """A policy whose sessions count, and that remembers every sequence it wrote and every state it decided at."""

    def __init__(self, *, slots: int = 64, kept_tokens: int = 32768, exact: bool = False) -> None:
        """`exact`: computes in fp64, where what else is in a batch does not move the digits that decide."""
        torch.set_num_threads(1)
        settings = PolicySettings(dtype="float32", slots=slots, threads=1, kept_tokens=kept_tokens)
        self.sessions: list[CountingSession] = []
        self.written: list[tuple[GenerateRequest, Action]] = []
        self.decided: list[GenerateRequest] = []
        model = deepcopy(leaning_llama()).double() if exact else leaning_llama()
        super().__init__(model, tokenizer(), settings, policy_id="tiny")

    def new_session(self, rows: int) -> Session:
        self.sessions.append(CountingSession(super().new_session(rows)))
        return self.sessions[-1]  # type: ignore[return-value]

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Action]:
        actions = super().generate(requests)
        self.written += zip(requests, actions, strict=True)
        return actions

    def beside(self, rows: int) -> Floor:
        return NotingFloor(super().beside(rows), self.written)  # type: ignore[return-value]

    def decide(self, requests: Sequence[GenerateRequest]) -> list[dict[str, float]]:
        self.decided += requests
        return super().decide(requests)

    def computed(self) -> int:
        """Tokens that went through the model."""
        return sum(session.appended for session in self.sessions)


def problems(number: int = 6) -> list[Problem]:
    """Questions that differ in their wording and length, to be answered in few words."""
    made = [make_problem(f"{PROMPTS[index % 6]} ({index})", "N'Djamena") for index in range(number)]
    brief = Budget(max_answer_tokens=5, max_argument_tokens=8)
    return [replace(problem, budget=brief) for problem in made]


@contextmanager
def searching(
    settings: SelfplaySettings, policy: CountingPolicy | None = None
) -> Iterator[tuple[Verbs, Proposer, CountingPolicy]]:
    """Verbs of a search by a policy, with real tools."""
    policy = policy or CountingPolicy()
    ticks = count()
    prices = PriceSheet()
    toolbox = open_toolbox(ToolSettings(), prices, PASSAGES, cut=policy.chat.cut, clock=lambda: float(next(ticks)))
    proposer = make_propose(policy, toolbox.specs(), settings)
    step = partial(step_many, toolbox=toolbox)
    try:
        verbs = Verbs(
            proposer,
            uninformed,
            check,
            step,
            prices.units,
            policy.forget,
            decide=proposer.decide,
            charge=lambda decision: Cost() if decision == ANSWER else prices.charge(decision),
            pen=partial(proposer.pen, policy),
        )
        yield verbs, proposer, policy
    finally:
        toolbox.close()


def play(folder: Path, settings: SelfplaySettings, *, on_save: Callable[[int], None] = lambda saved: None) -> Found:
    """Self-play saved in `folder`; `on_save` is told how many trees were saved by this process."""
    saved = 0

    def save(name: str, found: Found) -> None:
        nonlocal saved
        save_tree(folder, name, found)
        saved += 1
        on_save(saved)

    with searching(settings) as (verbs, _, _):
        found = selfplay(
            problems(),
            lambda: verbs,
            settings,
            provenance=MADE_BY,
            load_tree=partial(load_tree, folder),
            save_tree=save,
        )
        return join(list(found))
