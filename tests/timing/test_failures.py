"""Failures of one kind are one group, whatever their particulars; none is left out."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.timing.failures import (
    EXAMPLES,
    LONGEST,
    MOST_GROUPS,
    FailureGroup,
    Failures,
    input_label,
    place_of,
    without_particulars,
)

TRACE = """Traceback (most recent call last):
  File "/home/me/fit.py", line 12, in loss
    return inner(x)
  File "/home/me/.venv/lib/python3.12/site-packages/numpy/core.py", line 99, in inner
    raise ValueError
ValueError
"""


def failed(index: int, message: str = "no", **more: Any) -> dict[str, Any]:
    error = {"type": "ValueError", "message": message, "traceback": TRACE}
    return {"index": index, "status": "error", "input": index, "reason": None, "error": error, **more}


def command_failed(index: int, name: str, stderr: str) -> dict[str, Any]:
    error = {"type": "CommandFailed", "message": "exit status 1", "traceback": ""}
    return failed(index, input=name, error=error, reason="exit status 1", stderr=stderr, stdout="")


def groups(*records: dict[str, Any]) -> tuple[FailureGroup, ...]:
    failures = Failures()
    for record in records:
        failures.add(record)
    return failures.groups()


def test_five_hundred_failures_of_one_kind_are_one_group() -> None:
    (group,) = groups(*(failed(n, f"loss is nan at seed {n}, see /tmp/run-{n}/log") for n in range(500)))
    assert group.title == "ValueError: loss is nan at seed …, see …"
    assert (group.count, group.place) == (500, "/home/me/fit.py:12")
    assert [item.index for item in group.items] == list(range(EXAMPLES))
    assert group.items[3].detail == "loss is nan at seed 3, see /tmp/run-3/log"
    assert group.traceback.endswith("ValueError")


def test_one_message_is_told_as_it_is() -> None:
    (group,) = groups(failed(0, "no seed 7"), failed(1, "no seed 7"))
    assert group.message == "no seed 7"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no column 'size'", "no column 'colour'"),
        ('cannot open "a b.txt"', 'cannot open "c.txt"'),
        ("./data/a.csv is empty", "/srv/x/y.csv is empty"),
        ("object at 0x7f3a is gone", "object at 0x8ff0 is gone"),
        ("1e-3 is not -5.2", "7 is not 3"),
    ],
)
def test_particulars(one: str, other: str) -> None:
    assert without_particulars(one) == without_particulars(other) != one


def test_words_are_no_particulars() -> None:
    assert without_particulars("it can't be, I'm sure") == "it can't be, I'm sure"


def test_a_command_says_what_it_wrote_last_for_each_file() -> None:
    (group,) = groups(
        command_failed(0, "bad.json", "reading\nExpecting ',' delimiter: line 2\n\n"),
        command_failed(4, "bad2.json", "reading\nExpecting value: line 9\n"),
    )
    assert [(item.label, item.detail) for item in group.items] == [
        ("bad.json", "Expecting ',' delimiter: line 2"),
        ("bad2.json", "Expecting value: line 9"),
    ]
    assert group.stderr.startswith("reading\nExpecting ','")


def test_exit_statuses_are_kinds_of_their_own() -> None:
    other = command_failed(1, "b", "")
    other["error"] = {**other["error"], "message": "exit status 2"}
    assert len(groups(command_failed(0, "a", ""), other)) == 2


def test_the_largest_group_comes_first_and_cancelled_items_last() -> None:
    cancelled = [failed(n, status="cancelled", error=None, reason="halt") for n in range(20)]
    lost = failed(30, status="lost", error=None, reason="killed by SIGKILL")
    ordered = groups(*cancelled, lost, failed(40), failed(41))
    assert [group.title for group in ordered] == [
        "ValueError: no",
        "lost: killed by SIGKILL",
        "cancelled: halt",
    ]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from("abc")), unique_by=lambda pair: pair[0]))
def test_any_order_gives_the_same_groups(items: list[tuple[int, str]]) -> None:
    records = [failed(index, message) for index, message in items]
    shuffled = random.Random(0).sample(records, len(records))
    assert groups(*records) == groups(*shuffled)
    assert sum(group.count for group in groups(*records)) == len(records)


def test_what_is_beyond_the_limit_is_still_counted() -> None:
    kinds = ["".join(random.Random(n).choices("abcdefgh", k=12)) for n in range(3 * MOST_GROUPS)]
    found = groups(*(failed(n, kind) for n, kind in enumerate(kinds)))
    assert sum(group.count for group in found) == len(kinds)
    assert len(found) == MOST_GROUPS + 1
    assert "of other kinds" in found[0].title


def test_a_place_is_the_users_own() -> None:
    assert place_of(TRACE) == "/home/me/fit.py:12"
    assert place_of("nothing") is None


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ({"alpha": 0.9, "seed": 3}, "alpha=0.9 seed=3"),
        ("bad.json", "bad.json"),
        ({"x": {"$float": "NaN"}, "$$y": [1, 2]}, "x=NaN $y=[1,2]"),
        (None, "item 7"),
        ("", '""'),
        ("a\nb", "a …"),
        ({"$pickle": "x.pkl", "repr": "<Model>"}, "<Model>"),
        ({"$bytes": "abc"}, "abc"),
        ({"$array": {"dtype": 5}}, "{'dtype': 5}"),
    ],
)
def test_labels(value: Any, label: str) -> None:
    assert input_label(value, 7) == label


def test_long_labels_keep_what_tells_them_apart() -> None:
    path = input_label("/very/long" * 20 + "/sample-1.wav", 0)
    assert path.endswith("/sample-1.wav")
    words = input_label("word " * 40, 0)
    assert words.startswith("word word")
    assert len(path) == len(words) == LONGEST
