"""Questions that a version must be able to answer before it is served: the last check, after digests and loading.

Takes a loaded version and the questions; raises when one of them is not answered as it should be. Each is played to the
end, and once more with the first call forced, so that deciding, arguments, tools and answer have all worked once. All
are played side by side. What was computed warms the engine.
"""

from __future__ import annotations

from concurrent.futures import Future

from components.schema.trajectory import StopReason
from components.serving.asking import asked_of
from components.serving.conversation import Answer
from components.serving.settings import GoldenPrompt, ServeSettings
from components.serving.stock import Served
from components.serving.wire import ChatRequest, UserMessage
from components.tools.settings import CompositeSettings


class NotFit(ValueError):  # noqa: N818 - says what is found
    """A version does not pass a golden prompt."""


def check_golden(served: Served, settings: ServeSettings, *, composite: CompositeSettings) -> None:
    """Nothing, when the version answers every golden prompt as it should.

    Raises:
        NotFit: it does not; the message names the prompt.
    """
    forced = bool(served.toolbox.specs() and settings.limits.calls)
    plays = [
        (golden, _submitted(served, golden, settings, composite, None),
         _submitted(served, golden, settings, composite, "required") if forced else None)
        for golden in settings.golden
    ]  # fmt: skip
    for golden, free, called in plays:
        _check(golden, _answered(golden, free, settings))
        if called is not None:
            _check_sound(golden, _answered(golden, called, settings))


def _submitted(
    served: Served, golden: GoldenPrompt, settings: ServeSettings, composite: CompositeSettings, choice: str | None
) -> Future[Answer]:
    request = ChatRequest.model_validate(
        {"model": "golden", "messages": [UserMessage(role="user", content=golden.prompt).model_dump()],
         "tool_choice": choice, "max_completion_tokens": golden.tokens}
    )  # fmt: skip
    asked = asked_of(request, served.backend, served.toolbox, composite=composite, limits=settings.limits, seed=0)
    return served.engine.submit(served.talk(asked))


def _answered(golden: GoldenPrompt, future: Future[Answer], settings: ServeSettings) -> Answer:
    try:
        return future.result(settings.limits.seconds)
    except TimeoutError:
        raise NotFit(f"{golden.prompt!r} is not answered within {settings.limits.seconds:g} s") from None


def _check_sound(golden: GoldenPrompt, answer: Answer) -> None:
    if answer.stop in (StopReason.REFUSED, StopReason.MALFORMED):
        raise NotFit(f"{golden.prompt!r}: {answer.reason}")


def _check(golden: GoldenPrompt, answer: Answer) -> None:
    _check_sound(golden, answer)
    if golden.tool is not None and answer.decisions[:1] != (golden.tool,):
        raise NotFit(f"{golden.prompt!r}: the first decision is {answer.decisions[0]}, not {golden.tool}")
    if golden.contains is not None and golden.contains not in (answer.text or ""):
        raise NotFit(f"{golden.prompt!r}: the answer {answer.text!r:.200} does not contain {golden.contains!r}")
