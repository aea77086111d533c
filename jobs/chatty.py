"""What as_they_finish.yaml runs."""

import random
import time


def work(number: int, longest: float) -> float:
    """Sleep for a random time of up to ``longest`` seconds, and tell of it."""
    pause = random.uniform(0, longest)  # noqa: S311 - nothing depends on it
    time.sleep(pause)
    print(f"task {number} took {pause:.3f} s")
    return pause
