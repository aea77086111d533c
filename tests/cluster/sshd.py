"""A real sshd of the test's own, on a loopback port, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import wait_until

SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CONF = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""
PRIVSEP = Path("/run/sshd")
"""A path that is compiled into Debian's sshd, which does not start without it."""


def missing() -> str | None:
    """Why there can be no sshd here; None where there can."""
    absent = [n for n in ("sshd", "ssh", "scp", "ssh-keygen") if not shutil.which(n, path=SEARCH)]
    if absent:
        return f"no {absent[0]} here: apt-get install openssh-server openssh-client"
    if not PRIVSEP.is_dir() and os.geteuid() != 0:
        return f"sshd needs {PRIVSEP}, which only root can make"
    return None


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and how to log in there."""

    folder: Path
    port: int

    def options(self, engines: int) -> dict[str, Any]:
        """The launcher's options for engines on this host, nothing of them in the home folder."""
        log_in = [
            "-i",
            f"{self.folder}/user",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "BatchMode=yes",
        ]
        log_in += ["-o", f"UserKnownHostsFile={self.folder}/known", "-F", "none"]
        mine = "SSHEngineSetLauncher"
        return {
            f"{mine}.engines": {f"{getpass.getuser()}@127.0.0.1": engines},
            f"{mine}.ssh_args": [*log_in, "-p", str(self.port)],
            f"{mine}.scp_args": [*log_in, "-P", str(self.port)],
            f"{mine}.remote_profile_dir": f"{self.folder}/profile",
        }

    def said(self) -> str:
        """What it logged."""
        return (self.folder / "sshd.log").read_text("utf-8", "replace")


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Start it, and end it by its process's id."""
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        it = Sshd(folder, free.getsockname()[1])
    conf = folder / "sshd_config"
    conf.write_text(CONF.format(port=it.port, folder=folder))
    made = not PRIVSEP.is_dir()
    PRIVSEP.mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path=SEARCH)
    assert program is not None
    log = folder / "sshd.log"
    process = subprocess.Popen([program, "-D", "-f", str(conf), "-E", str(log)])
    try:
        wait_until(lambda: log.is_file() and "listening" in it.said(), "sshd listens")
        yield it
    finally:
        process.terminate()
        process.wait()
        if made:
            PRIVSEP.rmdir()
