"""The grammar of expectations, and what holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import Tally
from arcli.errors import ExitCode, UsageError
from arcli.timing.ledger import EngineUse, Ledger
from arcli.timing.summary import RunSummary, summarize_job
from arcli.timing.thresholds import (
    GRAMMAR,
    JOB,
    RUN,
    JobFigures,
    Measured,
    change,
    check,
    fail_on,
    measured,
    parse,
    settle,
    show_change,
)


def run(jobs: dict[str, dict[str, float]] | None = None, **figures: float) -> Measured:
    zeros = dict.fromkeys(JOB, 0.0)
    return Measured(
        run="r", name="n", started="", label="r", figures={**dict.fromkeys(RUN, 0.0), **figures},
        jobs={n: JobFigures(name=n, figures={**zeros, **f}) for n, f in (jobs or {}).items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95 > +10%", (None, "p95", ">", 0.1, True)),
        ("throughput<-5 %", (None, "throughput", "<", -0.05, True)),
        ("squares.p95>=200ms", ("squares", "p95", ">=", 0.2, False)),
        (" wall > 1m30s ", (None, "wall", ">", 90.0, False)),
        ("wall > 0", (None, "wall", ">", 0.0, False)),
        ("failed > 0", (None, "failed", ">", 0.0, False)),
        ("efficiency < 80%", (None, "efficiency", "<", 0.8, False)),
        ("efficiency < 0.8", (None, "efficiency", "<", 0.8, False)),
        ("a.b-c.speed-up <= 1.5", ("a.b-c", "speedup", "<=", 1.5, False)),
        ("start-up > 2.5s", (None, "startup", ">", 2.5, False)),
        ("P95 > +0.5%", (None, "p95", ">", 0.005, True)),
    ],
)
def test_what_is_read(text: str, expected: tuple[Any, ...]) -> None:
    found = parse(text)
    assert (found.job, found.figure, found.op, found.limit, found.relative) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not FIGURE OP LIMIT"),
        ("p95", "it is not FIGURE OP LIMIT"),
        ("p95 >", "it is not FIGURE OP LIMIT"),
        ("p95 = 3", "it is not FIGURE OP LIMIT"),
        ("p95 > +10% > 3", "neither"),
        ("p90 > 3s", "there is no figure 'p90'"),
        ("squares.startup > 3s", "there is no figure 'startup'"),
        ("p95 > 10%", r"10% needs a sign: \+10% or -10%"),
        ("p95 > 200", r"200 has no unit: 200ms, 200s, or \+200% against A"),
        ("p95 > soon", "'soon' is neither"),
        ("p95 > -3s", "neither"),
        ("failed > 3s", "neither"),
        ("failed > -1", "neither"),
        ("failed > nan", "neither"),
        ("efficiency < 1e999", "neither"),
    ],
)
def test_what_is_not_one_shows_the_grammar(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        parse(text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert GRAMMAR in (caught.value.hint or "")


@given(st.text(max_size=20))
def test_any_text_is_an_expectation_or_a_usage_error(text: str) -> None:
    try:
        parse(text)
    except UsageError:
        return
    assert parse(parse(text).text) == parse(text)


@given(
    job=st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True),
    figure=st.sampled_from(sorted(JOB)),
    op=st.sampled_from([">", ">=", "<", "<="]),
    percent=st.decimals(-999, 999, places=2),
)
def test_every_relative_one_reads_as_it_is_written(
    job: str | None, figure: str, op: str, percent: Any
) -> None:
    text = f"{job + '.' if job else ''}{figure} {op} {percent:+}%"
    found = parse(text)
    assert (found.job, found.figure, found.op, found.text) == (job, figure, op, text)
    assert found.limit == pytest.approx(float(percent) / 100)


@pytest.mark.parametrize(
    ("text", "now", "holds"),
    [
        ("wall > 2s", run(wall=2.0), False),
        ("wall >= 2s", run(wall=2.0), True),
        ("wall < 2s", run(wall=1.9), True),
        ("wall <= 2s", run(wall=2.1), False),
        ("failed > 0", run({"a": {"failed": 3}}, failed=3), True),
        ("a.failed > 3", run({"a": {"failed": 3}}), False),
        ("efficiency < 0.8", run({"a": {"efficiency": 0.9}, "b": {"efficiency": 0.7}}), True),
        ("efficiency < 0.8", run({"a": {"efficiency": 0.9}, "b": {"efficiency": 0.8}}), False),
        ("b.p95 > 1s", run({"a": {"p95": 9}, "b": {"p95": 0.5}}), False),
    ],
)
def test_absolute_ones(text: str, now: Measured, holds: bool) -> None:
    assert any(finding.holds for finding in check([parse(text)], now)) == holds


@pytest.mark.parametrize(
    ("text", "before", "now", "holds"),
    [
        ("p95 > +10%", 10.0, 11.0, False),
        ("p95 > +10%", 1.0, 1.11, True),
        ("p95 >= +0%", 1.0, 1.0, True),
        ("p95 < -10%", 1.0, 0.89, True),
        ("p95 < -10%", 1.0, 0.95, False),
        ("p95 > +10%", 0.0, 0.0, False),
        ("p95 > +10%", 0.0, 1e-9, True),
    ],
)
def test_relative_ones(text: str, before: float, now: float, holds: bool) -> None:
    a, b = run({"j": {"p95": before}}), run({"j": {"p95": now}})
    (finding,) = check([parse(text)], b, a)
    assert finding.holds == holds


def test_an_absolute_limit_is_one_whatever_the_other_run_was_like() -> None:
    a, b = run({"old": {}}, wall=9.0), run({"j": {"p95": 2.0}}, wall=9.0)
    findings = check([parse("p95 > 1s"), parse("j.p95 > 3s"), parse("wall > 1s")], b, a)
    assert [(finding.holds, finding.before) for finding in findings] == [
        (True, None),
        (False, None),
        (True, None),
    ]


def test_any_job_that_both_have_is_enough() -> None:
    a = run({"x": {"p95": 1.0}, "y": {"p95": 1.0}, "old": {"p95": 1.0}})
    b = run({"x": {"p95": 1.0}, "y": {"p95": 2.0}, "new": {"p95": 9.0}})
    findings = check([parse("p95 > +10%")], b, a)
    assert [(finding.job, finding.holds) for finding in findings] == [("x", False), ("y", True)]
    error = fail_on(findings)
    assert error is not None
    assert error.exit_code == ExitCode.EXPECTATION
    assert error.message == ("an expectation failed, y: p95 > +10%: 1.00 s became 2.00 s, +100.0 %")
    assert error.hint is not None
    assert "must not be so" in error.hint


def test_all_that_hold_are_told() -> None:
    now = run({"a": {"p95": 3.0}}, wall=9.0, failed=2)
    findings = check([parse("wall > 5s"), parse("failed > 9"), parse("a.p95 > 1s")], now)
    error = fail_on(findings)
    assert error is not None
    assert error.message.splitlines() == [
        "2 expectations failed:",
        "  wall > 5s: it is 9.00 s",
        "  a.p95 > 1s: it is 3.00 s",
    ]
    assert fail_on(findings[1:2]) is None


def test_what_cannot_be_decided_is_no_pass() -> None:
    a, b = run({"x": {}}), run({"y": {}})
    for text, before in (("p95 > +10%", a), ("x.p95 > +10%", a), ("x.p95 > 1s", None)):
        with pytest.raises(UsageError, match="there is no such job"):
            check([parse(text)], b, before)
    for text, now, before in (("p95 > +10%", run({}), a), ("x.p95 > +10%", a, run({}))):
        with pytest.raises(UsageError, match=r"no job began in .*, which has no figures of jobs"):
            check([parse(text)], now, before)
    with pytest.raises(UsageError, match=r"there is no other run that \+10% could be of"):
        check([parse("wall > +10%")], b)
    with pytest.raises(UsageError, match="there is no other run"):
        settle([parse("wall > +10%")], ["y"])
    with pytest.raises(UsageError, match="there is no job 'x'"):
        settle([parse("x.wall > 1s")], ["y"])
    settle([parse("y.wall > 1s"), parse("p95 > 1s")], ["y"])


@given(st.just(0.0) | st.floats(1e-9, 1e9), st.just(0.0) | st.floats(1e-9, 1e9))
def test_a_change_leads_from_one_to_the_other(before: float, now: float) -> None:
    share = change(before, now)
    if math.isinf(share):
        assert before == 0
        assert show_change(share) == "new"
    else:
        assert before * (1 + share) == pytest.approx(now, rel=1e-6, abs=1e-6 * max(before, 1))


def test_the_figures_are_those_of_the_summary() -> None:
    tally = Tally()
    for took in (1.0, 2.0, 3.0):
        tally.add("ok", took)
    tally.add("error", 4.0)
    use = EngineUse(engine_id=0, slot=0, present=10.0, busy=10.0, compute=10.0)
    job = summarize_job(Ledger(job="j", wall=20.0, planned=4, tally=tally, engines={0: use}))
    summary = RunSummary(
        run="r", name="n", started="now", exit_code=1, wall=25.0, startup=3.0, finish=1.0,
        jobs=(job, job),
    )  # fmt: skip
    found = measured(summary, {"j": tally.buckets})
    assert found.jobs["j"].figures == {
        "items": 4, "ok": 3, "failed": 1, "wall": 20.0, "serial": 10.0, "speedup": 0.5,
        "efficiency": 0.5, "throughput": 0.2, "mean": 2.5, "stddev": tally.deviation, "min": 1.0,
        "median": tally.quantile(0.5), "p95": tally.quantile(0.95), "p99": tally.quantile(0.99),
        "max": 4.0,
    }  # fmt: skip
    assert found.figures.keys() == set(RUN)
    assert (found.figures["wall"], found.figures["startup"]) == (25.0, 3.0)
    assert found.jobs["j"].buckets == tally.buckets
