"""What a forked engine ends is what any interpreter ends that has come to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from runs import PATIENCE

MODULE = """
import atexit, gc, os, sys, threading, weakref
gc.disable()

def note(text, write=os.write):
    write(3, text.encode() + b"\\n")

class Tells:
    def __init__(self, name):
        self.name = name
    def __del__(self, note=note):
        note(f"{self.name} is deleted")

atexit.register(note, "at exit")
weakref.finalize(Tells, note, "finalized")
_first = Tells("private")
then = Tells("public")
ring = Tells("a ring")
ring.ring = ring
del ring
kept = Tells("a ring that is kept")
kept.kept = kept
file = open(sys.argv[1], "w")
file.write("not flushed")

class Late(threading.Thread):
    def run(self):
        threading.main_thread().join()
        note("a thread's end")

Late().start()
threading.Thread(target=threading.Event().wait, daemon=True).start()
def own(): return then
"""
PLAIN = "import sys; sys.path.insert(0, sys.argv[2]); import theirs"
FORKED = f"""
import os, sys
from arcli.cluster.embedded import forks
from arcli.cluster.embedded.engine_end import Shared
names, shared = {{}}, Shared()
def be_it():
    exec({PLAIN!r}, names)
    exec(sys.argv[3], names)
    os.write(4, b"yes" if (ended := shared.end_others(names)) else b"no")
    return ended
pid = os.fork()
if pid == 0:
    forks.become(be_it)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def end(folder: Path, script: str, *words: str) -> tuple[list[str], str, str]:
    """What somebody's module says at the end, what its file has then, and whether that was all."""
    (folder / "theirs.py").write_text(MODULE)
    notes, way, file = folder / "notes", folder / "way", folder / "file"
    for each in (notes, way):
        each.write_text("")
    shell = ["sh", "-c", f'exec "$@" 3>>"{notes}" 4>>"{way}"', "sh"]
    command = [*shell, sys.executable, "-c", script, str(file), str(folder), *words]
    done = subprocess.run(command, timeout=PATIENCE, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return notes.read_text().splitlines(), file.read_text(), way.read_text()


@pytest.mark.parametrize(
    ("also", "way"),
    [
        ("pass", "yes"),
        ("here = theirs.Tells('name')", "yes"),
        ("import zmq", "no"),
        ("sys.modules['none'] = None", "yes"),
    ],
    ids=["module", "name", "extension", "no module"],
)
def test_all_that_somebody_has_ends_as_it_always_does(tmp_path: Path, also: str, way: str) -> None:
    """What has code in C may have left word with the C library: it has the long way round."""
    said, _, _ = end(tmp_path, f"{PLAIN}\n{also}")
    forked, file, how = end(tmp_path, FORKED, also)
    # Python itself may lose it: https://github.com/python/cpython/issues/62052
    assert file == "not flushed"
    assert how == way
    assert len(said) >= 7
    assert sorted(forked) == sorted(said)
