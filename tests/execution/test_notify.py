"""Who is told of a run: commands with the summary on their input, services by pings, each once."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from runs import running, wait_until

HOOK = """
import json, os, sys
document = json.load(sys.stdin)
names = ("ARCLI_RUN", "ARCLI_EXIT", "ARCLI_SPEC")
print(json.dumps([{name: os.environ.get(name) for name in names}, document]), file=open("told", "a"))
"""


class Service:
    """A health-check service on loopback: which paths it was sent, with which bodies."""

    def __init__(self, replies: list[int]) -> None:
        self.pings: list[tuple[str, dict[str, Any]]] = []
        self.replies = replies


@contextmanager
def service(*replies: int) -> Iterator[tuple[str, Service]]:
    """Serve on a port of its own; ``replies`` are the statuses of the first answers, then 200."""
    state = Service([*replies])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.pings.append((self.path, json.loads(body)))
            self.send_response(state.replies.pop(0) if state.replies else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(folder: Path) -> list[Any]:
    """What the hook wrote down."""
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]


def test_a_command_gets_the_summary(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(HOOK)
    spec = "map: 'lambda x: 1 // x'\nover: [1, 0]\nnotify:\n"
    for event in ("start", "ok", "failed", "always"):
        spec += f"  - {{on: {event}, run: [python3, hook.py, {event}]}}\n"
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == 1
    start, failed, always = told(tmp_path)
    run_id = run.manifest()["id"]
    spec_file = str(tmp_path / "spec.yaml")
    assert start == [
        {"ARCLI_RUN": run_id, "ARCLI_EXIT": None, "ARCLI_SPEC": spec_file},
        {"run": run_id, "name": "spec"},
    ]
    assert failed == always
    assert failed[0] == {"ARCLI_RUN": run_id, "ARCLI_EXIT": "1", "ARCLI_SPEC": spec_file}
    assert failed[1]["exit_code"] == 1
    assert failed[1]["jobs"][0]["counts"]["error"] == 1


@pytest.mark.parametrize("query", ["", "?create=1"])
def test_a_service_is_pinged_as_they_expect(tmp_path: Path, query: str) -> None:
    with service() as (url, state):
        spec = f"map: str\nover: [1]\nnotify: {{on: [start, always], ping: '{url}/id{query}'}}"
        with running(tmp_path, spec, "--inline") as run:
            assert run.wait() == 0
    assert [path for path, _ in state.pings] == [f"/id/start{query}", f"/id/0{query}"]
    assert state.pings[1][1]["status"] == "ok"


@pytest.mark.parametrize(
    ("replies", "pings", "warned"), [((503,), 2, False), ((503, 503), 2, True), ((404,), 1, True)]
)
def test_a_ping_has_two_tries(tmp_path: Path, replies: tuple[int, ...], pings: int, warned: bool) -> None:
    with service(*replies) as (url, state):
        spec = f"map: str\nover: [1]\nnotify: {{on: ok, ping: '{url}/secret-path'}}"
        with running(tmp_path, spec, "--inline") as run:
            assert run.wait() == 0
    assert len(state.pings) == pings
    assert ("notify 1 (ping) failed: HTTP status" in run.said()) == warned
    assert "secret-path" not in run.said()


@pytest.mark.parametrize(
    "hook", ["run: [python3, -c, 'exit(3)']", "run: [no-such-program]", "ping: 'http://127.0.0.1:9/x'"]
)
@pytest.mark.parametrize("required", [True, False])
def test_a_hook_that_fails_counts_only_where_it_is_required(
    tmp_path: Path, hook: str, required: bool
) -> None:
    spec = f"map: str\nover: [1]\nnotify: {{on: ok, {hook}, required: {str(required).lower()}}}"
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == (4 if required else 0)
    assert "notify 1" in run.said()
    assert run.manifest()["exit_code"] == (4 if required else 0)
    assert len(run.lines()) == 1


def test_a_hook_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    spec = "map: str\nover: [1]\nnotify: {run: [sh, -c, 'sleep 600 & sleep 600'], timeout: 300ms}"
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == 0
    assert "it took longer than 0.3 s" in run.said()


def test_what_a_hook_prints_is_no_result(tmp_path: Path) -> None:
    spec = "map: str\nover: [1]\nnotify: {run: [echo, hello]}"
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == 0
    assert len(run.lines()) == 1
    assert "hello" in run.said()


def test_after_a_signal_it_is_told_all_the_same(tmp_path: Path) -> None:
    with service() as (url, state):
        spec = f"command: 'touch begun; sleep 60'\nover: [1]\nnotify: {{on: failed, ping: '{url}'}}"
        with running(tmp_path, spec) as run:
            wait_until(lambda: (tmp_path / "begun").exists())
            run.signal(signal.SIGTERM)
            assert run.wait() == 143
    assert [path for path, _ in state.pings] == ["/143"]


def test_what_came_from_the_environment_is_not_kept(tmp_path: Path) -> None:
    secret = "a-long-secret-of-mine"
    spec = "map: str\nover: [1]\nnotify:\n"
    spec += (
        "  - {on: ok, ping: 'http://127.0.0.1:9/${env.HOOK}'}\n  - {run: [no-such-program, '${env.HOOK}']}"
    )
    with running(tmp_path, spec, "--inline", env={"HOOK": secret}) as run:
        assert run.wait() == 0
    assert "notify 1" in run.said()
    assert secret not in run.said() + run.out.read_text()
    for file in (tmp_path / ".arcli").rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        ("{on: ok}", "give it one of run: [COMMAND…] and ping: URL"),
        ("{run: [a], ping: 'http://x'}", "give it one of"),
        ("{on: later, run: [a]}", "should be start, ok, failed or always"),
        ("{ping: 'file:///etc/passwd'}", "ping should be a URL that begins with http"),
        ("{run: []}", "run should be a list with something in it"),
    ],
)
def test_what_makes_no_sense_is_told_before(tmp_path: Path, notify: str, message: str) -> None:
    with running(tmp_path, f"map: str\nover: [1]\nnotify: {notify}", "--inline") as run:
        assert run.wait() == 2
    assert message in run.said()


def test_how_long_a_hook_takes_does_not_change_the_exit_code_that_it_is_told(tmp_path: Path) -> None:
    hook = '["sh", "-c", "echo $ARCLI_EXIT > code; sleep 2"]'
    spec = f"map: abs\nover: [1]\nexpect: finish > 2s\nnotify: {{run: {hook}}}"
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == 0
        summary = run.manifest()["summary"]
    assert (tmp_path / "code").read_text() == "0\n"
    assert summary["exit_code"] == 0
    assert summary["finish"] > 2  # it is in the figures all the same
