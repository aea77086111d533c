"""Where an item stands: in placeholders and in its environment."""

from __future__ import annotations

from pathlib import Path

from runs import finish

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


def test_a_key_of_an_item_comes_first(tmp_path: Path) -> None:
    spec = 'command: [echo, "{number}"]\nover: {cases: [{number: x}]}\nparse: lines\n'
    code, records = finish(tmp_path, spec, "--inline")
    assert (code, [record["value"] for record in records]) == (0, [["x"]])
