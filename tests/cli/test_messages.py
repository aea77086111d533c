"""Sentences on stderr that nothing waits for, unless it is the end."""

from __future__ import annotations

import threading

from arcli.cli.messages import Notices
from arcli.outputs.stream import Stream
from arcli.outputs.target import NullStream


def test_the_last_sentences_are_told_by_a_thread_that_had_to_wait() -> None:
    """As on a busy machine, or where a terminal takes its time."""
    has_time, lines = threading.Event(), []

    def write(line: bytes) -> None:
        has_time.wait()
        lines.append(line)

    notices = Notices(above=write)
    notices.say("one engine never came")
    notices.say("the run was long")
    late = threading.Timer(1.5, has_time.set)
    late.start()
    notices.close()
    sentences = [*lines]
    late.join()
    assert sentences == [b"arcli: one engine never came\n", b"arcli: the run was long\n"]


def test_sentences_are_as_wide_as_the_terminal_and_commands_stay_whole() -> None:
    lines: list[bytes] = []
    stderr = Stream(target=NullStream(), width=34)
    notices = Notices(above=lines.append, stderr=stderr)
    notices.say("the runs in .arcli are more than a gigabyte: `arcli clean -n` removes old ones")
    notices.say("short")
    notices.close()
    assert b"".join(lines).decode().splitlines() == [
        "arcli: the runs in .arcli are more",
        "       than a gigabyte:",
        "       `arcli clean -n` removes",
        "       old ones",
        "arcli: short",
    ]
