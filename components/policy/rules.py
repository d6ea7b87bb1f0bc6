"""How a turn is opened, goes on and ends: the same for every backend, whatever draws the tokens.

Takes turns and tokens; changes the turns, and gives the finished one as an action. Runs no model.
"""

from __future__ import annotations

from components.policy.chat import Chat
from components.policy.constrained import ArgumentGrammars
from components.policy.decision import choose
from components.policy.turn import Turn
from components.schema.message import Message
from components.schema.trajectory import ANSWER, Action, StopReason
from components.tools.grammar import parse_turn

NOT_NUMBERS = "the model's logits are not numbers"


class Rules:
    """The rules under one chat format."""

    def __init__(self, chat: Chat, grammars: ArgumentGrammars) -> None:
        self._chat, self._grammars = chat, grammars

    def decide(self, turn: Turn) -> None:
        """Take the forced decision, or choose by the turn's probabilities; without either it is an answer."""
        if turn.request.decision is not None:
            turn.decision = turn.request.decision
        elif turn.probs is not None:
            open_to_it = {d: p for d, p in turn.probs.items() if d != ANSWER or not turn.request.must_call}
            if all(p == p for p in open_to_it.values()):
                heat = turn.request.decision_temperature
                turn.decision = choose(open_to_it, temperature=heat, uniform=lambda: turn.uniform[-1])
            else:
                turn.refuse(NOT_NUMBERS)

    def open_call(self, turn: Turn) -> bool:
        """Write the opening of the chosen call; False when its grammar cannot be used, and the turn is over."""
        spec = next(spec for spec in turn.request.specs if spec.name == turn.decision)
        try:
            turn.matcher = self._grammars.matcher(spec)
        except ValueError as error:
            turn.refuse(str(error))
            return False
        turn.add(self._chat.call_opening + self._chat.encode(spec.name) + turn.matcher.opening(), written=False)
        return True

    def struck(self, turn: Turn) -> tuple[int, ...]:
        """Tokens with which an answer may not go on; its next token is drawn given that it is none of them."""
        if turn.decision != ANSWER:
            return ()
        # The decision was to answer: the first token of an answer is drawn given that no call opens.
        call = self._chat.call_opening[:1] if turn.request.specs and not turn.tokens else ()
        end = (self._chat.end_id,) if len(turn.tokens) < turn.request.min_answer_tokens else ()
        return call + end

    def take(self, turn: Turn, token: int, logprob: float) -> bool:
        """Write the token, and end the turn when it has ended or its tokens have run out.

        False, with nothing written, when the turn may not go on with it.
        """
        if token in self.struck(turn) or (turn.matcher is not None and not turn.matcher.take(token)):
            return False
        turn.add([token], written=True, logprob=logprob)
        if turn.matcher is None:
            if token == self._chat.end_id:
                turn.end()
        elif (rest := turn.matcher.closing()) is not None:
            turn.add(rest, written=False)
            turn.end()
        if not turn.done and turn.left() <= 0:
            turn.end(StopReason.TRUNCATED)
        return True

    def action(self, turn: Turn) -> Action:
        """What a turn that is over amounts to."""
        text = self._chat.decode(turn.tokens) if turn.stop is not StopReason.REFUSED else turn.reason
        stop, call = turn.stop, None
        if turn.decision != ANSWER and stop is None:
            parsed = parse_turn(text, turn.request.specs)
            call, stop = parsed.call, None if parsed.call is not None else StopReason.MALFORMED
        return Action(
            message=Message("assistant", text, tuple(turn.tokens)),
            decision=turn.decision,
            written=tuple(turn.written),
            logprobs=tuple(turn.logprobs),
            call=call,
            stop=stop,
            decision_probs=turn.probs,
            draft=Message("assistant", self._chat.decode(turn.draft), turn.draft) if turn.draft else None,
        )
