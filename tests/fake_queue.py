"""A stand-in for Slurm: jobs run at once, on this machine, and ``scancel`` can be made to fail or to hang.

The real one (``cluster/slurm.py``) can do neither on demand, and is not installed everywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SBATCH = """#!/bin/bash
n=$(( $(cat "$QUEUE/last" 2>/dev/null || echo 100) + 1 ))
echo $n > "$QUEUE/last"
cp "$1" "$QUEUE/$n.script"
sleep ${SBATCH_SLEEP:-0}
setsid bash "$QUEUE/$n.script" > "$QUEUE/$n.out" 2>&1 < /dev/null & echo $! > "$QUEUE/$n.pid"
echo "Submitted batch job $n"
"""
SCANCEL = """#!/bin/bash
echo "$@" >> "$QUEUE/cancelled"
[ -n "$SCANCEL_HANGS" ] && exec sleep 600
[ -n "$SCANCEL_FAILS" ] && { echo "scancel: error: Invalid job id specified" >&2; exit 1; }
kill -TERM -- -$(cat "$QUEUE/$1.pid") 2>/dev/null
exit 0
"""
SRUN = """#!/bin/bash
for _ in $(seq ${SRUN_TASKS:-2}); do "$@" & done
wait
"""


@dataclass(frozen=True)
class FakeQueue:
    """``env`` has arcli find its commands."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """What makes arcli find its commands."""
        return {"PATH": f"{self.folder}:{os.environ['PATH']}", "QUEUE": str(self.folder)}

    def end(self, job: int) -> None:
        """End the processes of a job."""
        os.killpg(int((self.folder / f"{job}.pid").read_text()), 9)

    def cancelled(self) -> list[str]:
        """The ids of the jobs that somebody has tried to cancel."""
        path = self.folder / "cancelled"
        return path.read_text().split() if path.exists() else []


def fake_queue(folder: Path) -> FakeQueue:
    """Write the commands into a folder."""
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("srun", SRUN)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return FakeQueue(folder)
