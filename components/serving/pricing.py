"""The accuracy-cost trade moved at request time: what a unit of cost is worth, without another model.

Takes a model's heads; gives, for a price, how turns are taken. Where a model was trained to value actions, every
decision is written once and the one with the greatest value at that price is acted on:

    Q_price(s, a) = Q(s, a) - (price - lambda) * cost(s, a)

with lambda the price that Q was trained at, and cost(s, a) what acting so is expected to cost: nothing for an answer,
for a call the greater of its own charge and the cost to go that C-hat(s) foresees (learning.md 5.3, stage 3: moving
lambda at serving time). First order only: what the policy does afterwards is taken to stay as it is. A policy that
reads prices needs none of this: it is told (`Manner`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from components.policy.floor import Talk
from components.policy.heads import QHead, ValueHeads, score_actions, score_states
from components.policy.policy import Policy
from components.policy.turn import GenerateRequest
from components.schema.cost import Cost
from components.schema.trajectory import ANSWER, Action, State
from components.serving.conversation import TakeTurn

AtPrice = Callable[[float], TakeTurn]
"""How turns are taken at a price."""


def by_value(
    policy: Policy,
    q: QHead,
    values: ValueHeads | None,
    *,
    trained_price: float,
    charge: Callable[[str], Cost],
    units: Callable[[Cost], float],
) -> AtPrice:
    """Acting on the greatest value; `values` sharpens the cost that is foreseen, `units` are those of the price sheet.

    Turns are taken in the thread that owns the policy, which computes the values.
    """

    def at(price: float) -> TakeTurn:
        def take(request: GenerateRequest, state: State) -> Talk[Action]:
            written: list[Action] = []
            for decision in _open_decisions(request):
                action: Action = yield replace(request, decision=decision, must_call=False, heard=None)
                written.append(action)
            if len(written) == 1:
                return written[0]
            context = request.context_ids
            worth = score_actions(policy, q, [(*context, *(action.message.token_ids or ())) for action in written])
            ahead = 0.0 if values is None else score_states(policy, values, [context])[0].cost
            net = [
                value - (price - trained_price) * _foreseen(action, ahead, charge, units)
                for action, value in zip(written, worth, strict=True)
            ]
            # a turn that was cut off or refused only where there is no other; ties go to the one written first
            return written[min(range(len(written)), key=lambda i: (written[i].stop is not None, -net[i], i))]

        return take

    return at


def _open_decisions(request: GenerateRequest) -> list[str]:
    if request.decision is not None:
        return [request.decision]
    return [*(() if request.must_call else (ANSWER,)), *(spec.name for spec in request.specs)]


def _foreseen(action: Action, ahead: float, charge: Callable[[str], Cost], units: Callable[[Cost], float]) -> float:
    """Units of the price sheet that the action is expected to cost, with what follows it."""
    return 0.0 if action.decision == ANSWER else max(units(charge(action.decision)), ahead)
