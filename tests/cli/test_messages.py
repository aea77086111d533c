"""Sentences on stderr that nothing waits for, unless it is the end."""

from __future__ import annotations

import threading

from arcli.cli.messages import Notices


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
