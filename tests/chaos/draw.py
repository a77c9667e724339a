"""What a round is: drawn from its seed alone, so that the same seed is the same draw again."""

import random
from dataclasses import dataclass, field

from chaos import points
from chaos.faults import FAULTS, available
from lib.scenario import BY_STEPS

LEASE_S = 3
PART_ROWS = 50  # the fewest that workers make a transaction of, where rows take their time

# Key columns, the type of each, and keys for the row with number i: the application may put new ones before, among and after them.
KEYS = {
    "dense": (["id"], "int", lambda i, rng: (i,)),
    "gaps": (["id"], "bigint", lambda i, rng: (i * 7,)),
    "uuid": (["id"], "uuid", lambda i, rng: ("%08x-%04x-4%03x-8%03x-%012x" % tuple(map(rng.getrandbits, (32, 16, 12, 12, 48))),)),
    "composite": (["tenant", "id"], "int", lambda i, rng: (i % 5, i)),
}


@dataclass
class Step:
    """One fault: begun when this share of the rows is done. seed: of whatever the fault draws itself."""

    share: float
    fault: str
    seed: str
    until: object = lambda: True  # is its present wait over?
    refusals: int = 0  # how often it could not begin, its server being away


@dataclass
class Draw:
    seed: int
    way: str  # ledger or pending
    mode: str  # batch or row
    form: str  # set or backfill
    keys: str
    launcher: str  # produce or run
    workers: int
    lanes: int
    rows: int
    batch_size: int
    turns: bool  # batches are done by turns
    parts: bool  # batches and windows are larger than transactions: slices of the ones, runs of rows of the others
    poison: list
    mends: bool  # poison rows are mended in the end, and replayed
    first_points: list  # fail points that the first workers and the producer start with
    steps: list = field(default_factory=list)

    def __str__(self):
        poison = f", {len(self.poison)} poison rows{' (replayed)' if self.mends else ''}" if self.poison else ""
        parts = " by turns" if self.turns else " in parts" if self.parts else ""
        return (f"{self.way} {self.form}, {self.mode} jobs, {self.keys} keys, {self.rows} rows by {self.batch_size}{parts}{poison}, "
                f"{self.launcher} with {self.workers}x{self.lanes}")

    @property
    def rows_at_once(self):
        """About as many as a transaction has."""
        return PART_ROWS if self.parts else self.batch_size

    @property
    def max_backlog(self):
        return 12 * PART_ROWS if self.parts and self.mode == "row" else 60

    @property
    def migration(self):
        lines = ["-- drover: table t", f"-- drover: mode {self.mode}",
                 "-- drover: ledger" if self.way == "ledger" else "-- drover: pending shape = 1"]
        if not self.parts:
            lines.append(f"-- drover: batch-size {self.batch_size}")  # what a file says is kept
        change = [("n", "n + 1 / ok"), ("shape", "2")][:1 if self.way == "ledger" else 2]
        if self.form == "set":
            lines += [f"-- drover: set {column} = {expression}" for column, expression in change]
        else:
            columns = KEYS[self.keys][0]
            lines += ["-- drover: backfill", "UPDATE t SET " + ", ".join(f"{column} = {expression}" for column, expression in change)
                      + " FROM :batch b WHERE " + " AND ".join(f"t.{c} = b.{c}" for c in columns) + BY_STEPS]
        return "\n".join(lines) + "\n"


def draw(seed, only=None, calm=False):
    rng = random.Random(f"drover {seed}")
    workers, lanes = rng.choice([(2, 2), (2, 3), (3, 2)])
    batch_size = rng.choice([3, 5, 8])
    parts = random.Random(f"parts {seed}").random() < 0.4
    rows = workers * lanes * (60 * PART_ROWS if parts else 100 * batch_size)
    if parts:
        batch_size *= PART_ROWS
    turns = parts and random.Random(f"turns {seed}").random() < 0.3
    poison = sorted(rng.sample(range(1, rows + 1), rng.randint(5, 25))) if rng.random() < 0.5 else []
    drawn = Draw(seed, rng.choice(["ledger", "pending"]), rng.choice(["batch", "row"]), rng.choice(["set", "backfill"]),
                 rng.choice(list(KEYS)), rng.choice(["produce", "produce", "run"]), workers, lanes, rows, batch_size, turns, parts, poison,
                 rng.random() < 0.5, [None] * (workers + 1))
    if turns:
        drawn.way, drawn.mode, drawn.form, drawn.keys = "pending", "batch", "set", rng.choice(["dense", "gaps"])
    if not calm:
        drawn.first_points = [points.draw(rng, points.WORKERS) if rng.random() < 0.5 else None for _ in range(workers)]
        drawn.first_points.append(points.draw(rng, points.of_producer(drawn.launcher)) if rng.random() < 0.3 else None)
        kinds = only or [name for name in FAULTS if available(name)]
        count = rng.randint(5, 8)
        names = (rng.sample(kinds, len(kinds)) * count)[:count]
        shares = sorted(rng.uniform(0.02, 0.55) for _ in names)
        drawn.steps = [Step(share, name, f"{seed}/{i}") for i, (share, name) in enumerate(zip(shares, names))]
    return drawn
