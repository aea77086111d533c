"""Connection files: what a controller writes is taken, and nothing that could run code."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
from connections import GOOD, write_connection

from arcli.cluster.connection import Connection, UnreachableError
from arcli.errors import ClusterError


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"interface": "tcp://*"},
        {"interface": "tcp://[::1]"},
        {"interface": "ipc:///tmp/arcli-x/z"},
        {"ssh": "me@login-1.example.org"},
        {"location": ""},
        {"curve_serverkey": "3oy2Kg]X0XF$+G$W)0[weC%zS4anIT*SLO..)Wt@"},
    ],
)
def test_what_a_controller_writes_is_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    connection = Connection.read(
        write_connection(tmp_path, {**GOOD, **change, "written by": "a newer one"})
    )
    assert connection.info == {**GOOD, **change}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unpack", "pickle"),
        ("pack", "pickle"),
        ("unpack", "os.system"),
        ("unpack", ["json"]),
        ("signature_scheme", "none"),
        ("ssh", "-oProxyCommand=touch /tmp/x"),
        ("ssh", "host -oProxyCommand=x"),
        ("location", "-oProxyCommand=x"),
        ("interface", "tcp://-oProxyCommand=x y"),
        ("interface", "inproc://x"),
        ("registration", "1; touch x"),
        ("mux", True),
        ("iopub", 70000),
        ("curve_serverkey", "short"),
        ("key", 7),
    ],
)
def test_what_could_run_code_is_refused_by_its_name(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ClusterError, match=repr(name)):
        Connection.read(write_connection(tmp_path, {**GOOD, name: value}))


@pytest.mark.parametrize("name", [key for key in GOOD if key not in {"ssh", "location", "curve_serverkey"}])
def test_what_a_client_needs_and_a_file_lacks_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClusterError, match=f"it has no {name!r}"):
        Connection.read(write_connection(tmp_path, {key: GOOD[key] for key in GOOD if key != name}))


def test_a_pickle_is_no_connection_file(tmp_path: Path) -> None:
    file = tmp_path / "client.json"
    file.write_bytes(pickle.dumps(GOOD))
    with pytest.raises(ClusterError, match="not JSON"):
        Connection.read(file)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ClusterError, match="can be written by other users"):
        Connection.read(write_connection(tmp_path, GOOD, mode))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(tmp_path: Path) -> None:
    file = write_connection(tmp_path, GOOD)
    os.chown(file, 12345, 12345)
    with pytest.raises(ClusterError, match="belongs to another user"):
        Connection.read(file)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EHOSTUNREACH, "No route to host"), socket.gaierror(socket.EAI_NONAME, "not known")],
)
def test_a_host_that_cannot_be_reached_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def connect(*arguments: Any) -> None:
        raise error

    connection = Connection.read(write_connection(tmp_path, GOOD))
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(
        UnreachableError, match=r"127\.0\.0\.1, which .*client\.json names, cannot be reached"
    ):
        connection.check()
