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
from foreign import Foreign, foreign
from own_cluster import folder_of
from runs import PATIENCE, Run, each_once, marked, running, wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user"),
]
STRANGER = 54321
"""A user who has no name on this machine, and owns nothing."""
BECOME_STRANGER = f"import os, socket; os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
"""The interpreter itself may be in a place that a stranger cannot enter."""
SPEC = """
setup:
  imports: [os, time]
  run: |
    def f(x):
        time.sleep(0.05)
        while x == 119 and not os.path.exists("go"):
            time.sleep(0.05)
        return x
map: f
over: {range: 120}
"""


def as_stranger(code: str, *arguments: str) -> str:
    """What a program of another user prints; it fails where the program does."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME_STRANGER + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=PATIENCE,
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
        (tmp_path / "go").touch()
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


# -- where the controller listens on TCP ------------------------------------------------------------

ATTACK = """
    import sys, time
    seconds, bomb, *addresses = sys.argv[1:]
    pickled = b"cos\\nmkdir\\n(V" + bomb.encode() + b"\\ntR."  # makes a folder where it is unpickled
    context = zmq.Context()

    def sockets(kind, **options):
        for address in addresses:
            socket = context.socket(kind)
            for name, value in {"linger": 3000, "sndtimeo": 1000, **options}.items():
                setattr(socket, name, value)
            socket.connect(f"tcp://{address}")
            yield socket

    heard = []
    listeners = [*sockets(zmq.SUB, subscribe=b"")]
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline and len(heard) < 100:
        for listener in listeners:
            while listener.poll(20) and len(heard) < 100:
                heard.append(listener.recv_multipart())
    header, content = b'{"msg_type": "data_message"}', b'{"keys": ["x"]}'
    forged = [b"topic", b"<IDS|MSG>", b"", header, b"{}", b"{}", content]
    again = heard + [message[:-1] + [pickled] for message in heard]  # replayed, and with other buffers
    publishers = [*sockets(zmq.PUB, sndhwm=0)]
    time.sleep(1)  # their connections take a moment; what is sent before that is nobody's
    for speaker in [*publishers, *sockets(zmq.DEALER)]:
        try:
            for message in again:
                speaker.send_multipart(message)
            for _ in range(4000 if speaker in publishers else 20):
                speaker.send_multipart([*forged, pickled + b"x" * 50_000])
        except zmq.ZMQError:
            pass  # it is not let in, and nothing is taken
    print(len(heard))
    context.destroy(linger=3000)
"""
MOST = 200_000_000
"""Bytes that arcli may have: 70 million of its own, 50 of a flood of 200 million, and some to spare."""


def attack(theirs: Foreign, bomb: Path, seconds: float) -> int:
    """Have a stranger listen for so long, flood, replay and tamper, on all ports.

    Returns how many messages could be heard, a hundred at most.
    """
    processes = marked(theirs.mark)
    addresses = {
        f"{connection.laddr.ip}:{connection.laddr.port}"
        for process in processes
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(addresses) >= 10
    program = f"import zmq\n{BECOME_STRANGER}{textwrap.dedent(ATTACK)}"
    words = [sys.executable, "-c", program, str(seconds), str(bomb), *addresses]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_stranger_at_the_ports_changes_nothing_and_runs_nothing(tmp_path: Path, encrypted: bool) -> None:
    """With CurveZMQ nothing can be heard, either; without it, what the documentation says."""
    bombs = tmp_path / "bombs"
    bombs.mkdir()
    bombs.chmod(0o777)
    spec = "setup: {imports: [os, time]}\nover: {range: 2000}\nchunksize: 3\n"
    spec += "map: 'lambda x: (os.path.exists(\"go\") or time.sleep(0.2)) and None or x * x'\n"
    with (
        foreign(tmp_path, 2, f"--IPController.enable_curve={encrypted}") as theirs,
        running(tmp_path, spec, "--cluster", "theirs", env=theirs.env) as run,
    ):
        wait_until(lambda: len(run.lines()) > 3, run.said)
        heard = attack(theirs, bombs / "exploded", 3 if encrypted else PATIENCE)
        status = Path(f"/proc/{run.process.pid}/status").read_text()
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        assert [record["value"] for record in run.lines()] == [x * x for x in range(2000)]
        assert ("does not use CurveZMQ" in run.said()) is not encrypted
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak * 1024 < MOST
    assert list(bombs.iterdir()) == []
    assert heard == (0 if encrypted else 100)
