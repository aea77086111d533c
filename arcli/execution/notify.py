"""``notify:`` in a spec: commands and pings that are told when a run begins and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from arcli.errors import ArcliError, OutputError
from arcli.paths import is_file
from arcli.specfile.model import Notification, Spec
from arcli.timing.summary import RunSummary

PING_SECONDS = 10.0
"""How long a service has for a ping, each of ``TRIES`` times."""
TRIES = 2


class Notifier:
    """Tells what a spec's ``notify:`` names, each once: ``start`` when it is entered, then ``ended``.

    A hook that fails is told to people by ``warn``, without its URL or arguments, which may hold
    secrets; it changes nothing about the run unless it is required. A run that ends by a bug of
    arcli's is told to services as ``/fail``.
    """

    def __init__(self, spec: Spec, run: str, warn: Callable[[str], None]) -> None:
        self._spec = spec
        self._run = run
        self._warn = warn

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Tell of the start; where the block raises, tell of that. Raises OutputError if required."""
        began = {"run": self._run, "name": self._spec.name}
        self._tell({"start"}, "/start", None, began)
        try:
            yield
        except ArcliError:
            raise
        except Exception:
            self._tell({"failed", "always"}, "/fail", 70, {**began, "status": "failed", "exit_code": 70})
            raise

    def ended(self, summary: RunSummary) -> None:
        """Tell how the run ended. Raises OutputError where a required hook failed."""
        code = int(summary.exit_code or 0)
        document = {**summary.to_dict(), "jobs": [job.to_dict() for job in summary.jobs]}
        self._tell({"failed" if code else "ok", "always"}, f"/{code}", code, document)

    def _tell(self, events: set[str], path: str, code: int | None, document: dict[str, Any]) -> None:
        """Have every hook for one of these events told; ``path`` is appended to a ping's URL."""
        failed: list[str] = []
        # One hook that fails keeps no other from being told.
        for number, hook in enumerate(self._spec.notify, 1):
            if not events & {*hook.on}:
                continue
            body = json.dumps(document, default=str).encode()
            problem = _ping(hook, path, body) if hook.run is None else self._call(hook, code, body)
            if problem is None:
                continue
            message = f"notify {number} ({'run' if hook.run else 'ping'}) failed: {problem}"
            if hook.required:
                failed.append(message)
            else:
                self._warn(message)
        if failed:
            raise OutputError("; ".join(failed), hint="required: false makes that a warning")

    def _call(self, hook: Notification, code: int | None, body: bytes) -> str | None:
        """Run a command with the summary on its standard input. Returns what went wrong, or None.

        What it prints goes to stderr: stdout is for results.
        """
        # What a script asks first, without having to read JSON: which run, of which spec, how it ended.
        assert hook.run is not None
        file = self._spec.file
        env = {**os.environ, "ARCLI_RUN": self._run}
        env["ARCLI_SPEC"] = str(Path(file).resolve()) if is_file(Path(file)) else file
        if code is not None:
            env["ARCLI_EXIT"] = str(code)
        try:
            process = subprocess.Popen(
                hook.run,
                cwd=self._spec.folder,
                env=env,
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno() if sys.stderr is not None else subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return error.strerror or str(error)
        # It has a session of its own, so that what it has started in turn ends with it, too.
        try:
            process.communicate(body, hook.timeout)
        except subprocess.TimeoutExpired:
            return f"it took longer than {hook.timeout:g} s"
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return f"exit status {process.returncode}" if process.returncode else None


def _ping(hook: Notification, path: str, body: bytes) -> str | None:
    """Post the summary to a service, as https://healthchecks.io/docs/http_api/ has it.

    Returns what went wrong, or None; never the URL, whose path is often a secret.
    """
    import urllib3  # only where a spec pings

    assert hook.ping is not None
    # By hand: a URL that is none is told of when it is asked for.
    base, mark, query = hook.ping.partition("?")
    url = base.rstrip("/") + path + mark + query
    # Its own retries would be logged, with the URL.
    retries = urllib3.Retry(connect=0, read=0, status=0, redirect=2)
    timeout = urllib3.Timeout(total=min(PING_SECONDS, hook.timeout))
    headers = {"Content-Type": "application/json", "User-Agent": "arcli"}
    problem: str | None = None
    with urllib3.PoolManager(timeout=timeout, retries=retries, headers=headers) as pool:
        for _ in range(TRIES):
            try:
                reply = pool.request("POST", url, body=body)
            except urllib3.exceptions.HTTPError as error:
                reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
                problem = type(reason or error).__name__
                continue
            # An answer below 500 is one that will not change by asking again.
            problem = None if reply.status < 400 else f"HTTP status {reply.status}"
            if reply.status < 500:
                break
    return problem
