"""The report is one self-contained, escaped page that states what report.json states."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import evaluation_records as made
import pytest

from components.evaluation.plots import accuracy_against_cost, reward_parts
from components.evaluation.policies import COMPARISONS, TRAINED, forced_decision, in_order, meaning_of, plan
from components.evaluation.report import difference_lines, render_html, terminal_table, write_html
from components.evaluation.samples import SampleView, choose_samples
from components.evaluation.settings import EvaluateSettings
from components.evaluation.summary import Report, summarise
from components.evaluation.wording import clear_of_zero, difference, figure
from components.records.codec import from_json, to_json
from components.schema.report import Interval
from components.schema.trajectory import StopReason

FINAL = made.PLAN[-1]
POLICIES = ("base", "never-call", "always-search", "always-python", "oracle", "clone", "reinforced", "final")


@pytest.fixture(scope="module")
def report() -> Report:
    return made.report()


@pytest.fixture(scope="module")
def samples() -> tuple[SampleView, ...]:
    solved = made.problems()
    return choose_samples(solved, made.trajectories(FINAL, solved), made.price, count=20)


def test_every_policy_is_reported_in_order_with_the_oracle_among_them(report: Report) -> None:
    assert tuple(row.policy for row in report.reports) == POLICIES
    assert [(row.challenger, row.baseline) for row in report.comparisons] == list(COMPARISONS)
    assert report.problems == 160


def test_every_policy_of_a_plan_has_a_meaning_and_tools_of_ones_own_are_branches() -> None:
    plays = plan("final", ("search", "convert"), (0.0, 0.3))
    assert all(meaning_of(play.policy) for play in plays)
    assert meaning_of("final told 0.3") == "final, told that a call costs 0.3"
    assert meaning_of("somebody") == ""
    assert all(re.fullmatch(r"[-\w. :/]+", play.policy) for play in plays), "names are parts of metrics in MLflow"
    names = [play.policy for play in reversed(plays)]
    assert in_order(names)[:3] == ["base", "never-call", "always-convert"]
    assert in_order(names)[-2:] == ["final told 0.3", "final told 0"]
    assert [forced_decision(name) for name in ("never-call", "always-convert", "final")] == ["answer", "convert", None]


def test_a_plan_without_forced_decisions_plays_the_models_alone() -> None:
    assert [play.policy for play in plan("reinforced", forced=False)] == ["base", "clone", "reinforced"]


def test_the_report_survives_json(report: Report) -> None:
    text = json.dumps(to_json(report), allow_nan=False)
    assert from_json(Report, json.loads(text)) == report


def test_comparisons_hold_accuracy_cost_per_correct_and_accuracy_by_slice(report: Report) -> None:
    for row in report.comparisons:
        assert {"eval/accuracy", "slice/fact/accuracy", "slice/chat/accuracy"} <= row.differences.keys()
    assert "eval/cost_per_correct" in report.comparisons[1].differences


def test_confusions_count_every_problem_whose_branches_were_judged(report: Report) -> None:
    assert [grid.policy for grid in report.confusions] == [play.policy for play in TRAINED]
    for grid in report.confusions:
        assert sum(count for row in grid.counts.values() for count in row.values()) == 159  # one is unscored


def test_no_policy_has_less_regret_than_the_oracle(report: Report) -> None:
    regrets = {row.policy: row.metrics["eval/decision_regret"].value for row in report.reports}
    assert regrets["oracle"] == 0.0
    assert all(value >= 0.0 for value in regrets.values())


def test_a_report_of_some_policies_is_still_a_report() -> None:
    solved = made.problems(24)
    some = {name: rows for name, rows in made.played_rows(solved).items() if name in ("clone", "final")}
    partial = summarise(some, EvaluateSettings(resamples=200), cost_weight=0.1, seed=0)
    assert [row.policy for row in partial.reports] == ["clone", "final"]
    assert "<html" in render_html(partial, ())


def test_the_page_loads_nothing_from_outside(report: Report, samples: tuple[SampleView, ...]) -> None:
    page = render_html(report, samples, made.reward_steps())
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert "@import" not in page
    assert "url(" not in page


def test_everything_from_data_is_escaped(report: Report) -> None:
    solved = made.problems(1)
    hostile = choose_samples(solved, made.trajectories(FINAL, solved), made.price, count=1)
    turn = replace(
        hostile[0].turns[0], text=made.HOSTILE, results=(made.HOSTILE,), decision="<b>x</b>", draft=made.HOSTILE
    )
    page = render_html(report, (replace(hostile[0], turns=(turn,), slices=('"><i>',), answer="</pre><img src=x>"),))
    assert "window.broken" in page
    assert "<script>window.broken" not in page
    for smuggled in ("<b>x</b>", "<i>", "<img src=x>"):
        assert smuggled not in page


def test_the_same_report_gives_the_same_page(report: Report, samples: tuple[SampleView, ...]) -> None:
    assert render_html(report, samples, made.reward_steps()) == render_html(report, samples, made.reward_steps())


def test_the_page_is_written_whole(tmp_path: Path, report: Report, samples: tuple[SampleView, ...]) -> None:
    write_html(tmp_path / "report.html", report, samples)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.endswith("</html>")
    assert "No step metrics were recorded." in text


def test_samples_cover_every_family_with_wrong_and_right(samples: tuple[SampleView, ...]) -> None:
    assert len(samples) == 20
    assert {sample.slices[0] for sample in samples} == set(made.FAMILIES)
    assert {"right", "wrong"} <= {sample.verdict for sample in samples}


def test_sample_calls_read_like_calls() -> None:
    solved = made.problems(8)
    search = next(play for play in made.PLAN if play.policy == "always-search")
    shown = choose_samples(solved, made.trajectories(search, solved), made.price, count=8)
    assert any(sample.turns[0].text.startswith('search(query="figure p') for sample in shown)
    assert all(sample.turns[0].results for sample in shown)


def test_terminal_table_has_a_header_and_a_row_a_policy(report: Report) -> None:
    header, *rows = terminal_table(report)
    assert header[0] == "Policy"
    assert [row[0] for row in rows] == list(POLICIES)
    assert all(len(row) == len(header) for row in rows)
    assert len(difference_lines(report)) == len(COMPARISONS)


def test_plots_are_svg_and_missing_steps_give_no_plot(report: Report) -> None:
    assert "<svg" in accuracy_against_cost(report.reports)
    assert "<svg" in (reward_parts(made.reward_steps(5)) or "")
    assert reward_parts([]) is None
    assert "<svg" in (reward_parts([{"step": 1, "reward/correct": None}, {"step": 2, "reward/correct": 0.5}]) or "")


def test_figures_read_as_people_write_them() -> None:
    assert figure("eval/accuracy", Interval(0.921, 0.9, 0.94, 10)) == "92.1"
    assert difference("eval/accuracy", Interval(0.05, 0.01, 0.09, 10)) == "+5.0 points"
    assert difference("eval/cost", Interval(-0.214, -0.3, -0.1, 10)) == "−0.21"
    assert difference("eval/cost", Interval(-0.001, -0.3, 0.1, 10)) == "0.00"
    assert figure("eval/cost", None) == "–"
    assert [clear_of_zero(Interval(0, low, high, 1)) for low, high in ((1, 2), (-2, -1), (-1, 1))] == [1, -1, 0]


def test_an_answer_that_was_cut_off_is_still_shown() -> None:
    solved = made.problems(1)
    (one,) = made.trajectories(made.PLAN[0], solved)
    cut = replace(one, outcome=replace(one.outcome, answer=None, stop_reason=StopReason.TRUNCATED))
    (shown,) = choose_samples(solved, [cut], made.price, count=1)
    assert shown.answer == one.outcome.answer
    assert shown.stop_reason == "truncated"
