"""Everything that breaks. A fault is a generator: it begins at its first step, and each `yield` says how long it lasts until the next.

That is a number of seconds, or a function that becomes true (or LONGEST_S pass). When the generator ends, the fault is healed; one that
returns False has met nothing that it could break, and does not count. Faults of one group never meet; of different groups they do. `r` is the
round, `rng` the fault's own.
"""

from chaos.faults import network, postgres, processes, redis
from chaos.faults.registry import FAULTS, LONGEST_S, available

__all__ = ["FAULTS", "LONGEST_S", "available", "network", "postgres", "processes", "redis"]
