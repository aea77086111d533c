"""Locks on open files, which the system lets go when the last process that has the file open ends."""

from __future__ import annotations

import fcntl


def locked(fd: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file until it is closed. Returns False where somebody else has locked it.

    None where there is nothing to be had: some file systems have no locks (NFS without its lock daemon,
    Lustre without ``-o flock``: https://doc.lustre.org/lustre_manual.xhtml, "flock").
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
