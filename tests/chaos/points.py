"""Fail points: the table that the programs are built with, and what DROVER_FAILPOINT takes."""

import re
from pathlib import Path

_TABLE = Path(__file__).resolve().parents[2] / "common/core/failpoint.def"

_STEWARD = ("push_", "audit_", "windows_", "sweep_", "before_complete")
WORKERS = ("worker_", *_STEWARD)


def of_producer(launcher):
    """Not all for `drover run`: its workers have its environment, and would die again and again."""
    return ("scan_", "producer_") + (() if launcher == "run" else (*_STEWARD, "completed"))


def draw(rng, prefixes, actions=("kill",)):
    names = [name for name in re.findall(r"^X\((\w+),", _TABLE.read_text(), re.MULTILINE) if name.startswith(prefixes)]
    return f"{rng.choice(names)}={rng.choice(actions)}@{rng.choice([1, 1, 1, 2, 5])}"
