"""The table of launchers, and who asks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from arcli import launchers
from arcli.errors import SpecError
from arcli.specfile.load import load


def test_every_launcher_of_ipyparallel_is_usable_by_its_name() -> None:
    from ipyparallel.cluster import launcher as classes

    entry_points = set(classes.entry_points(group=launchers.ENTRY_POINTS).names)
    assert entry_points
    for name in entry_points:
        assert launchers.named(name) is not None
    assert entry_points <= set(launchers.names())


def test_a_launcher_of_another_package_is_used_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "cloud-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: cloud\nVersion: 1.0\n")
    entry = f"[{launchers.ENTRY_POINTS}]\ncloud = cloud:EngineSetLauncher\n"
    (information / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(tmp_path))
    launchers._installed.cache_clear()
    try:
        (tmp_path / "spec.yaml").write_text("cluster: {launcher: cloud, engines: 2}\nmap: abs\nover: [1]\n")
        assert load(str(tmp_path / "spec.yaml")).cluster.launcher == "cloud"
        cloud = launchers.named("cloud")
        assert cloud is not None
        assert not cloud.own
    finally:
        launchers._installed.cache_clear()


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ("launcher: slrum", "did you mean 'slurm'"),
        ("launcher: cloud9", "there are embedded, local"),
        ("launcher: ssh", "needs hosts"),
        ("launcher: ssh, options: {SSHEngineSetLauncher.engines: node1}", "maps each host"),
        ("launcher: ssh, options: {SSHEngineSetLauncher.engines: {node1: many}}", "'many' engines"),
        ("launcher: ssh, options: {SSHEngineSetLauncher.engines: {node1: 0}}", "0 engines"),
        ("launcher: ssh, options: {SSHEngineSetLauncher.engines: {node1: {n: x}}}", "'x' engines"),
        ("launcher: embedded, options: {A.b: 1}", "has no options"),
    ],
)
def test_what_is_wrong_with_a_launcher_is_a_problem_of_the_spec(
    tmp_path: Path, cluster: str, words: str
) -> None:
    (tmp_path / "spec.yaml").write_text(f"cluster: {{{cluster}}}\nmap: abs\nover: [1]\n")
    with pytest.raises(SpecError) as caught:
        load(str(tmp_path / "spec.yaml"))
    (problem,) = caught.value.problems
    assert words in f"{problem.message} {problem.hint}"


def test_hosts_say_how_many_engines_there_are() -> None:
    ssh = launchers.named("ssh")
    assert ssh is not None
    hosts = {"node1": 3, "me@node2": {"n": 4, "delay": 1}, "node3": {}}
    assert launchers.engines_on_hosts(ssh, {"SSHEngineSetLauncher.engines": hosts}) == 8
    assert launchers.engines_on_hosts(ssh, {}) is None
