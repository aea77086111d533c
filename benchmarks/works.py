"""What every contender calls: one function a work, taking an item's number."""

import time
import zlib


def trivial(x: int) -> int:
    return x * x


def busy_2ms(x: int) -> int:
    return _busy(x, 0.002)


def skewed(x: int) -> int:
    """One item in a hundred, without a pattern in their places, takes 100 ms, the rest 1 ms."""
    return _busy(x, 0.1 if zlib.crc32(b"%d" % x) % 100 == 0 else 0.001)


def nap(x: int) -> int:
    """Leave the cores to what carries the messages."""
    time.sleep(0.05)
    return x


def large(x: int) -> str:
    """A value of a megabyte."""
    return chr(97 + x % 26) * 1_000_000


def chatty(x: int) -> int:
    """Print a thousand lines a second for four seconds, by the clock."""
    began = time.monotonic()
    for step in range(400):
        for line in range(10):
            print(f"item {x} step {step}.{line}: loss 0.123456 accuracy 0.98765")
        time.sleep(max(0.0, began + (step + 1) * 0.01 - time.monotonic()))
    return x


def total(row: object) -> int:
    """What there is to do with a row of a file, or a line: next to nothing."""
    return len(row)  # type: ignore[arg-type]


def _busy(x: int, seconds: float) -> int:
    # CPU time, not wall time: a contender that takes the cores away from its workers pays for it.
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return x
