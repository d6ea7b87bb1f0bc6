"""A canary: users stay with their version, equals are let be, and one that does badly is taken back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from openai import InternalServerError
from served import World, client, listening, random_policy, toolbox, version, wait_until

from components.serving.canary import CanaryWatch, Observed, in_canary, p95
from components.serving.settings import CanaryRules
from components.serving.stock import Routes

PAIR = ("1", "2")
GOOD = Observed(failed=False, invalid=False, seconds=1.0, units=1.0)


def _drawn(
    draw: random.Random, *, failed: float = 0.0, invalid: float = 0.02, slower: float = 1.0, dearer: float = 0.0
) -> Observed:
    return Observed(
        draw.random() < failed, draw.random() < invalid, slower * draw.expovariate(1.0), dearer + draw.choice((0, 1, 2))
    )


def _answers_until_stopped(bad: dict[str, float], *, most: int = 150, seed: int = 0) -> int | None:
    """Answers of the canary until it was stopped; None when it never was. Nine of ten requests are the champion's."""
    watch, draw, seen = CanaryWatch(CanaryRules()), random.Random(seed), 0
    while seen < most:
        if draw.random() < 0.9:
            watch.observe(PAIR, canary=False, what=_drawn(draw))
            continue
        seen += 1
        if watch.observe(PAIR, canary=True, what=_drawn(draw, **bad)) is not None:
            return seen
    return None


def test_users_stay_with_their_version_and_the_share_is_kept() -> None:
    users = [f"user-{number}" for number in range(4000)]
    chosen = [user for user in users if in_canary(user, 0.05, "7")]
    assert chosen == [user for user in users if in_canary(user, 0.05, "7")]
    assert 0.035 < len(chosen) / len(users) < 0.065
    assert set(chosen) <= {user for user in users if in_canary(user, 0.2, "7")}, "a greater share keeps those it had"
    assert set(chosen) != {user for user in users if in_canary(user, 0.05, "8")}, "not always the same users suffer"
    assert not in_canary("a", 0.0, "7")
    assert in_canary("a", 1.0, "7")


def test_an_equal_canary_is_seldom_taken_back() -> None:
    stopped = [_answers_until_stopped({}, seed=seed) for seed in range(20)]
    assert sum(one is not None for one in stopped) <= 1


@pytest.mark.parametrize("bad", [{"failed": 0.5}, {"invalid": 0.5}, {"slower": 6.0}, {"dearer": 3.0}])
def test_a_bad_canary_is_taken_back_within_dozens_of_answers(bad: dict[str, float]) -> None:
    for seed in range(5):
        stopped = _answers_until_stopped(bad, seed=seed)
        assert stopped is not None
        assert CanaryRules().minimum <= stopped <= 60


def test_nothing_is_concluded_from_a_few_answers_and_a_new_pair_begins_anew() -> None:
    watch, failed = CanaryWatch(CanaryRules(minimum=20)), Observed(True, False, 1.0, 1.0)
    for _ in range(19):
        assert watch.observe(PAIR, canary=True, what=failed) is None
    assert watch.observe(("1", "3"), canary=True, what=failed) is None
    assert len(watch.canary.seen) == 1
    for _ in range(18):
        watch.observe(("1", "3"), canary=True, what=failed)
    reason = watch.observe(("1", "3"), canary=True, what=failed)
    assert reason == "failed answers: 20 of 20, champion 0 of 0"


def test_p95_is_the_value_that_nineteen_of_twenty_do_not_exceed() -> None:
    assert p95([float(n) for n in range(1, 21)]) == 19.0
    assert p95([3.0]) == 3.0


def test_a_canary_that_fails_is_taken_back_while_the_champion_answers_on(tmp_path: Path) -> None:
    tools, broken = toolbox(), random_policy(3)
    with_nan = broken.model.lm_head.weight.data
    with_nan.fill_(float("nan"))
    broken.refresh()
    world = World(tmp_path, version("1", random_policy(), tools), version("2", broken, tools), canary={"minimum": 5})
    world.stock.routes = Routes(champion="1", canary="2", canary_share=0.5)
    failed, answered = 0, set[str]()
    with listening(world) as url:
        for number in range(60):
            try:
                answer = client(url).chat.completions.create(
                    model="qanat", messages=[{"role": "user", "content": "Hi"}], max_tokens=2, user=f"user {number}"
                )
                answered.add(answer.model)
            except InternalServerError:
                failed += 1
            if world.stopped:
                break
    assert answered == {"qanat@1"}
    assert 5 <= failed <= 20
    ((number, reason),) = world.stopped
    assert number == "2"
    assert reason.startswith("failed answers: ")
    assert world.stock.routes.canary is None


def test_the_shadow_answers_for_nobody(tmp_path: Path) -> None:
    tools = toolbox()
    world = World(tmp_path, version("1", random_policy(), tools), version("2", random_policy(1), tools))
    world.stock.routes = Routes(champion="1", shadow="2")
    with listening(world) as url:
        answer = client(url).chat.completions.create(
            model="qanat", messages=[{"role": "user", "content": "my words"}], max_tokens=4
        )
        assert answer.model == "qanat@1"
        wait_until((tmp_path / "shadow.jsonl").is_file)
    (line,) = (tmp_path / "shadow.jsonl").read_text().splitlines()
    assert answer.id in line
    assert '"shadow": "2"' in line
    assert "my words" not in line
