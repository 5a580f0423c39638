"""How long steps take, for every engine."""

import time


def enough(milliseconds, steps, seconds):
    """Whether these counted steps will do: so many, or if no number was asked for, at least 5 and so many seconds."""
    if steps:
        return len(milliseconds) >= steps
    return len(milliseconds) >= 5 and sum(milliseconds) >= seconds * 1e3


def measure(step, warmup, steps, seconds):
    """Milliseconds of each counted step."""
    for _ in range(warmup):
        step()
    milliseconds = []
    while not enough(milliseconds, steps, seconds):
        started = time.perf_counter()
        step()
        milliseconds.append((time.perf_counter() - started) * 1e3)
    return milliseconds
