"""Where an item stands: in placeholders and in its environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from runs import finish

from arcli.engine.variables import DIGITS, NAME, Variables

COMMAND = """\
command: |
  echo {index} {number} {attempt} {slot}
  echo $ARCLI_INDEX $ARCLI_NUMBER $ARCLI_ATTEMPT $ARCLI_SLOT $ARCLI_JOB
  test {} != {attempt}
over: [1, 9]
retries: 1
parse: lines
targets: [1]
name: counted
"""


def test_a_command_knows_its_number_its_attempt_and_its_slot(tmp_path: Path) -> None:
    code, records = finish(tmp_path, COMMAND)
    assert code == 0
    assert [record["value"] for record in records] == [
        ["0 1 2 1", "0 1 2 1 counted"],
        ["1 2 1 1", "1 2 1 1 counted"],
    ]


def test_a_function_finds_the_slot_of_its_engine_and_the_run(tmp_path: Path) -> None:
    spec = (
        "setup: {imports: [os]}\napply: \"lambda: [os.environ['ARCLI_SLOT'], os.environ['ARCLI_RUN']]\"\n"
    )
    code, records = finish(tmp_path, spec)
    assert code == 0
    assert [record["value"] for record in records] == [[str(n), records[n]["run"]] for n in range(2)]


PLACES = """\
import os, subprocess

def places(number):
    child = "echo $ARCLI_INDEX $ARCLI_SLOT $ARCLI_RUN"
    printed = subprocess.run(child, shell=True, capture_output=True, text=True).stdout.split()
    saved = dict(os.environ)
    os.environ.clear()  # as mock.patch.dict does, and whoever else restores an environment
    os.environ.update(saved)
    return [printed, [os.environ[f"ARCLI_{name}"] for name in ("INDEX", "SLOT", "RUN")]]
"""


@pytest.mark.parametrize("flag", ["--inline", "-n2"])
def test_a_function_and_what_it_starts_find_the_number_of_their_item(tmp_path: Path, flag: str) -> None:
    (tmp_path / "f.py").write_text(PLACES)
    code, records = finish(tmp_path, "map: f.py:places\nover: {range: 16}\nchunksize: 8\n", flag)
    assert code == 0
    for index, record in enumerate(records):
        expected = [str(index), str(record["slot"]), record["run"]]
        assert record["value"] == [expected, expected]


BESIDE = """\
import asyncio, os

async def places(x):
    await asyncio.sleep(0)
    return [os.environ.get(f"ARCLI_{name}") for name in ("INDEX", "SLOT", "RUN")]
"""


@pytest.mark.parametrize("flag", ["--inline", "-n2"])
def test_coroutines_side_by_side_find_slot_and_run_and_nobodys_number(tmp_path: Path, flag: str) -> None:
    (tmp_path / "f.py").write_text(BESIDE)
    spec = "map: f.py:places\nover: {range: 16}\nconcurrency: 4\n"
    # As it is where arcli is called by an item of another run.
    code, records = finish(tmp_path, spec, flag, env={"ARCLI_INDEX": "7", "ARCLI_SLOT": "9"})
    assert code == 0
    for record in records:
        assert record["value"] == [None, str(record["slot"]), record["run"]]


def test_the_environment_is_as_it_was_when_nothing_runs() -> None:
    os.environ["ARCLI_RUN"] = "another"
    try:
        with Variables().around({"ARCLI_RUN": "mine", "ARCLI_SLOT": "0"}) as places:
            places.put()
            places.held[NAME] = b"7"
            DIGITS.pack_into(places.text, 0, b"7")
            assert subprocess.check_output("echo $ARCLI_INDEX $ARCLI_RUN", shell=True) == b"7 mine\n"
        assert os.environ["ARCLI_RUN"] == "another"
        assert "ARCLI_INDEX" not in os.environ
        assert subprocess.check_output("echo $ARCLI_INDEX$ARCLI_SLOT", shell=True) == b"\n"
    finally:
        del os.environ["ARCLI_RUN"]


def test_a_key_of_an_item_comes_first(tmp_path: Path) -> None:
    spec = 'command: [echo, "{number}"]\nover: {cases: [{number: x}]}\nparse: lines\n'
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, [record["value"] for record in records]) == (0, [["x"]])
