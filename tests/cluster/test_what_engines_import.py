"""What lies beside a spec, or is exported, must not keep engines from starting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from runs import finish, statuses

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("launcher", ["embedded", "local"])]


def test_files_that_are_named_as_modules_of_pythons(tmp_path: Path, launcher: str) -> None:
    for name in ("random", "tempfile", "json"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not the one that was meant')\n")
    (tmp_path / "work.py").write_text("def add(x):\n    return x + 1\n")
    (tmp_path / "spec.yaml").write_text(
        f"cluster: {{launcher: {launcher}, engines: 2}}\nmap: 'work.py:add'\nover: [1, 2]\n"
    )
    # `python -m arcli` itself would import them.
    command = [str(Path(sys.executable).with_name("arcli")), "run", "spec.yaml", "--format", "jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [orjson.loads(line)["value"] for line in done.stdout.splitlines()] == [2, 3]


def test_warnings_that_are_errors_are_so_for_items_alone(tmp_path: Path, launcher: str) -> None:
    spec = f"""
cluster: {{launcher: {launcher}}}
setup:
  imports: [os, warnings]
map: "lambda x: (warnings.warn('old', DeprecationWarning) if x else None, os.environ['PYTHONWARNINGS'])"
over: [0, 1]
"""
    code, records = finish(tmp_path, spec, env={"PYTHONWARNINGS": "error"})
    assert code == 1
    assert statuses(records) == {"ok": 1, "error": 1}
    assert records[0]["value"] == [None, "error"]
    assert records[1]["error"]["type"].endswith("DeprecationWarning")


def test_variables_of_the_surroundings_reach_items_as_they_were(tmp_path: Path, launcher: str) -> None:
    spec = f"""
cluster: {{launcher: {launcher}}}
map: "lambda name: __import__('os').environ.get(name)"
over: [PYTHONSAFEPATH, PYTHONWARNINGS, IPP_CONNECTION_INFO, IPYTHONDIR, OMP_NUM_THREADS]
"""
    exported = {"OMP_NUM_THREADS": "3", "IPYTHONDIR": str(tmp_path), "IPP_CONNECTION_INFO": "another's"}
    code, records = finish(tmp_path, spec, env=exported)
    assert code == 0
    assert [record["value"] for record in records] == [None, None, None, str(tmp_path), "3"]
