"""Files that commands print to: empty, one's own, and used again only when they are nobody else's."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from arcli.engine import command
from arcli.engine.blank_files import BlankFiles
from arcli.engine.command import Command, CommandLine
from arcli.engine.live import Live, Patrol
from arcli.engine.protocol import JobDefinition
from arcli.placeholders import compiled_script


@pytest.fixture
def files() -> Iterator[BlankFiles]:
    files = BlankFiles()
    yield files
    files.close()


def leases() -> bool:
    """Whether the system tells who has a temporary file open."""
    files = BlankFiles()
    file = files.take()
    files.give_back(file)
    again = files.take()
    os.close(again)
    return again == file and sys.platform == "linux"


needs_leases = pytest.mark.skipif(not leases(), reason=f"no leases in {tempfile.gettempdir()}")


@needs_leases
def test_a_file_that_is_given_back_is_empty_and_the_same(files: BlankFiles) -> None:
    file = files.take()
    inode = os.fstat(file).st_ino
    lent = files.opened_again(file)
    os.write(lent, b"of one command")
    os.close(lent)
    files.give_back(file)
    again = files.take()
    assert os.fstat(again).st_ino == inode
    assert os.pread(again, 100, 0) == b""
    os.close(again)


def test_a_file_that_somebody_has_is_not_used_again(files: BlankFiles) -> None:
    file = files.take()
    inode = os.fstat(file).st_ino
    lent = files.opened_again(file)
    files.give_back(file)
    again = files.take()
    os.write(lent, b"late")
    assert os.fstat(lent).st_ino == inode
    assert os.pread(again, 100, 0) == b""
    os.close(lent)
    os.close(again)


def test_what_outlives_a_command_never_speaks_in_anothers_name(tmp_path: Path) -> None:
    # In a session of its own, which ends with no item, it waits until the next item lets it speak.
    os.mkfifo(tmp_path / "gate")
    first = (
        "setsid sh -c 'echo $$ > pid; read x < gate; echo late; echo done > said' &"
        " until [ -s pid ]; do sleep 0.01; done"
    )
    second = "echo go > gate; until [ -s said ]; do sleep 0.01; done; echo mine"
    text = f"if [ {{}} = 1 ]; then {first}; else {second}; fi"
    job = JobDefinition("job", "command", shell=compiled_script(text), cwd=[str(tmp_path)])
    command = Command(CommandLine(job), {}, BlankFiles(), Patrol(Live(None)))
    try:
        assert command.run(1, 0)["exit"] == 0
        assert command.run(2, 1) == {"exit": 0, "stdout": "mine\n", "stderr": ""}
    finally:
        with suppress(OSError, ValueError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_command_that_gets_one_file_of_two_gives_it_back() -> None:
    class Scarce(BlankFiles):
        taken: ClassVar[list[int]] = []

        def take(self) -> int:
            if self.taken:
                raise OSError(errno.EMFILE, "Too many open files")
            self.taken.append(super().take())
            return self.taken[0]

        def give_back(self, file: int) -> None:
            super().give_back(file)
            self.taken.remove(file)

    files = Scarce()
    with pytest.raises(OSError, match="Too many"), command._Output(files, 1, 0, 1):
        pass
    assert files.taken == []
