"""What another user of the same machine can do to a run: nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from own_cluster import folder_of
from runs import Run, each_once, running, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user"),
]
STRANGER = 54321
"""A user who has no name on this machine, and owns nothing."""
BECOME_STRANGER = f"import os, socket; os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
"""The interpreter itself may be in a place that a stranger cannot enter."""
SPEC = "setup: {imports: [time]}\nmap: 'lambda x: time.sleep(0.05) or x'\nover: {range: 120}\n"


def as_stranger(code: str, *arguments: str) -> str:
    """What a program of another user prints; it fails where the program does."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME_STRANGER + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Run, Path]]:
    """A run that is under way, and its cluster's private folder; the run is complete at the end."""
    with running(tmp_path, SPEC) as run:
        wait_until(lambda: len(run.lines()) > 3, run.said)
        yield run, folder_of(run.relatives())
        assert run.wait() == 0
        assert each_once(run.lines(), 120)


def test_a_stranger_can_be_played_here() -> None:
    assert as_stranger("import os; print(os.getuid())").strip() == str(STRANGER)


def test_nothing_listens_on_a_port(started: tuple[Run, Path]) -> None:
    run, _ = started
    for process in [psutil.Process(run.process.pid), *run.relatives()]:
        assert process.net_connections(kind="inet") == []


def test_no_socket_can_be_connected_to_and_no_file_be_read(started: tuple[Run, Path]) -> None:
    run, folder = started
    sockets = [str(path) for path in folder.iterdir() if path.is_socket()]
    assert len(sockets) >= 10
    secrets = [str(path) for path in folder.rglob("*") if path.is_file()]
    secrets += [str(path) for path in (run.folder / ".arcli").rglob("*") if path.is_file()]
    connected = """
        import sys
        for path in sys.argv[1:]:
            connect = lambda path: socket.socket(socket.AF_UNIX).connect(path)
            for attempt in (open, os.listdir, *([connect] if "/z:" in path else [])):
                try:
                    attempt(path)
                except PermissionError:
                    continue
                except OSError as error:
                    print("reached", path, error)
                    continue
                print("opened", path)
    """
    assert as_stranger(connected, *sockets, *secrets, str(folder)) == ""


def test_no_abstract_socket_is_a_way_in(started: tuple[Run, Path]) -> None:
    run, _ = started
    pids = {process.pid for process in run.relatives()}
    ours = [
        connection.laddr
        for connection in psutil.net_connections(kind="unix")
        if connection.pid in pids and str(connection.laddr).startswith(("@", "\0"))
    ]
    assert ours == []


def test_the_key_is_in_no_environment_no_argument_no_log_and_no_record(started: tuple[Run, Path]) -> None:
    run, folder = started
    file = folder / "profile" / "security" / "ipcontroller-client.json"
    key = json.loads(file.read_text())["key"]
    assert len(key) > 20
    for process in run.relatives():
        assert key not in " ".join(process.cmdline())
        assert key not in Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
    kept = [path for path in (run.folder / ".arcli").rglob("*") if path.is_file()]
    kept += [*folder.glob("*.log"), run.out, run.err]
    assert [path for path in kept if key.encode() in path.read_bytes()] == []


def test_garbage_on_every_socket_changes_nothing(started: tuple[Run, Path]) -> None:
    """The same user can reach them: whatever is sent there without the key is dropped."""
    _, folder = started
    for path in [path for path in folder.iterdir() if path.is_socket()]:
        for garbage in (b"", b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100_000, _greeting()):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(2)
                try:
                    client.connect(str(path))
                    client.sendall(garbage)
                except OSError:
                    continue  # hung up on: as it should be


def _greeting() -> bytes:
    """How a peer of ZeroMQ begins (https://rfc.zeromq.org/spec/23/), and what no peer goes on with."""
    return b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + b"\0" * 48 + b"\4\x19\5READY\xff\xff\xff\xff" + b"x" * 5000


def test_messages_without_the_key_are_dropped(started: tuple[Run, Path]) -> None:
    import zmq
    from jupyter_client.session import Session

    _, folder = started
    info: dict[str, Any] = json.loads(
        (folder / "profile" / "security" / "ipcontroller-client.json").read_text()
    )
    forged = Session(key=b"not the key")
    with zmq.Context() as context:
        for name in ("registration", "mux", "control", "task", "broadcast"):
            with context.socket(zmq.DEALER) as dealer:
                dealer.linger = 200
                dealer.connect(f"{info['interface']}:{info[name]}")
                for kind in ("apply_request", "execute_request", "shutdown_request", "connection_request"):
                    forged.send(dealer, kind, content={"code": "raise SystemExit"}, buffers=[b"x"])
                for frames in ([b""], [b"", b"<IDS|MSG>"], [b"engine", b"<IDS|MSG>", b"", b"{}"]):
                    dealer.send_multipart(frames)
