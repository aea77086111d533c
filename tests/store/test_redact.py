from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import Run

from arcli.specfile.overrides import text_of
from arcli.store.describe import MASK, Redaction

SPEC = """\
params: {level: 3, token: none}
cluster: {env: {API: "${params.token}", HOME_OF: "at ${env.PLACE}"}}
jobs:
- {name: calls, command: "echo {} $GREETING", env: {GREETING: good evening}, over: ["${env.PLACE}/a"]}
- {name: numbers, map: abs, over: ["${env.PIN}", 12, "${env.CODE}"]}
"""
ENV = {"PLACE": "far-away", "PIN": "902104217", "CODE": "004217"}


def test_what_is_not_to_be_read_later_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    words = ["run", "spec.yaml", "--inline", "-p", "token=hunter2", "--param=level=902104217", "-q"]
    run = Run(tmp_path, words, env=ENV)
    assert run.wait() == 0
    (folder,) = (tmp_path / ".arcli" / "runs").iterdir()
    kept = (folder / "manifest.json").read_text()
    for secret in ("hunter2", "far-away", "902104217", "good evening"):
        assert secret not in kept
    manifest = json.loads(kept)
    assert manifest["spec"]["cluster"]["env"] == {"API": MASK, "HOME_OF": "at ${env.PLACE}"}
    calls, numbers = manifest["spec"]["jobs"]
    assert calls["env"] == {"GREETING": MASK}
    assert calls["over"]["list"] == ["${env.PLACE}/a"]
    assert numbers["over"]["list"] == ["${env.PIN}", 12, "${env.CODE}"]
    assert manifest["argv"][-4:] == ["-p", f"token={MASK}", "--param=level=${env.PIN}", "-q"]
    for form in ("html", "json", "markdown"):
        report = Run(tmp_path, ["report", "--format", form])
        assert report.wait() == 0
        assert "hunter2" not in report.out.read_text()


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["-p", "password=x=y"], ["-p", "password=***"]),
        (["-ppassword=x"], ["-ppassword=***"]),
        (["--set", "cluster.env.A=b"], ["--set", "cluster.env.A=***"]),
        (["--param=n=3", "--deadline", "3s"], ["--param=n=3", "--deadline", "3s"]),
        (["-o", "sesame.jsonl"], ["-o", "${env.DOOR}.jsonl"]),
    ],
)
def test_arguments(argv: list[str], shown: list[str]) -> None:
    assert Redaction({"sesame": "${env.DOOR}", "a": "${env.A}"}).arguments(argv) == shown


def test_a_secret_is_known_by_its_escapes() -> None:
    for secret in ('sés"ame', "a\\b", "x${y}"):
        words = ["--set", f"params.a={text_of(secret)}", "-p", f"a={secret}"]
        assert Redaction({secret: "X"}).arguments(words) == ["--set", 'params.a="X"', "-p", "a=X"]


def test_the_longer_secret_goes_first() -> None:
    assert Redaction({"abc": "1", "abcdef": "2"}).text("abcdefabc") == "21"
