"""One round: servers of its own, a fleet, an application, and the faults that its seed draws. At its end everything is checked."""

import random
import re
import shutil
import subprocess
import time
import traceback
from pathlib import Path

import psycopg
import redis

from chaos import checks
from chaos.application import Application, create
from chaos.draw import LEASE_S, PART_ROWS, draw
from chaos.faults import FAULTS, LONGEST_S
from chaos.fleet import Fleet
from lib.drover import Drover
from lib.postgres import Postgres
from lib.process import give_to_server_user, temporary_directory
from lib.proxy import Proxy
from lib.redis_server import Redis

LAST_SHARE = 0.6  # of the rows are done when the application stops, at the earliest
STUCK_S = 100  # no row, no fault, no program's end: longer than any time-out of the programs
LIVELOCK_S = 600  # things happen, and it is not through

POSTGRES = {"max_connections": "45", "deadlock_timeout": "300ms", "log_lock_waits": "off", "wal_level": "replica"}

REDIS = ["--enable-debug-command", "local"]

# Where the contract says that a person has to look. Everything else must heal by itself.
PAUSES = {
    "disk full": r"the server is in trouble: .*(53100|No space left)",
    "three crashes": r"the server crashed again and again",
}

_AWAY = (psycopg.Error, redis.RedisError, OSError, IndexError)  # a fault cannot begin yet: its server is away, nobody is there


def play(seed, only=None, calm=False, home="/tmp"):
    """One round; a dict that says how it went. The folder of a round that failed is kept."""
    begun = time.monotonic()
    drawn = draw(seed, only, calm)
    folder = Path(home, f"round-{seed}{'-calm' if calm else ''}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    played, error = Round(drawn, folder), None
    try:
        played.run()
        shutil.rmtree(folder)
    except Exception:
        error = traceback.format_exc()
        (folder / "error").write_text(error)
    return {"seed": seed, "calm": calm, "draw": str(drawn), "error": error, "story": played.story, "folder": str(folder),
            "hit": played.hit, "resumes": played.resumes,
            "reached": played.fleet.reached if played.fleet else [], "seconds": time.monotonic() - begun}


class _Patience:
    """Slow is not stuck: a machine that is busy with other things takes its time, but rows and faults follow one another."""

    def __init__(self, r):
        self.r, self.begun, self.moved, self.seen = r, time.monotonic(), time.monotonic(), None

    def check(self, what):
        now, seen = time.monotonic(), (self.r.rows_done, len(self.r.story))
        if seen != self.seen:
            self.seen, self.moved = seen, now
        assert now - self.moved < STUCK_S and now - self.begun < LIVELOCK_S, f"stuck at {self.r.rows_done} rows: {what()}"


class Round:
    def __init__(self, draw, folder):
        self.draw, self.folder, self.lease_s = draw, Path(folder), LEASE_S
        self.begun = time.monotonic()
        self.story = []
        self.hit, self.resumes = [], []
        self.rows_done = 0
        self.full = False
        self.stream = None
        self.fleet = None
        self.looked = 0

    # --- what faults use ---

    def say(self, text):
        self.story.append(f"{time.monotonic() - self.begun:7.2f} {text}")

    def sql(self, query, params=None):
        options = "-c statement_timeout=0 -c default_transaction_read_only=off"
        with self.database.conn(options=options) as conn:
            cursor = conn.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def state(self):
        return self.sql("SELECT state, state_reason FROM drover.migrations")[0]

    @property
    def direct(self):
        """Past the proxies: where an operator sits."""
        return {"DATABASE_URL": self.database.url, "REDIS_URL": self.redis.url}

    @property
    def columns(self):
        return self.application.columns

    def network(self, rng):
        return rng.choice([self.postgres_network, self.redis_network])

    # --- looking on ---

    def _look(self):
        """At progress, at pauses, and whether anyone spins or grows."""
        now = time.monotonic()
        if now - self.looked < 0.2:
            return
        self.looked = now
        self.fleet.look()
        try:
            self.rows_done = int(self.sql("SELECT coalesce(sum(rows_changed), 0) FROM drover.lane_counts")[0][0])
            state, reason = self.state()
        except (psycopg.Error, IndexError):
            return
        if state == "paused" and not self.full:
            self._resume(reason)

    def _resume(self, reason):
        why = next((name for name, pattern in PAUSES.items() if re.search(pattern, reason or "", re.DOTALL)), None)
        assert why and (why != "disk full" or "disk_full" in self.hit), f"paused: {reason}"
        if self.programs.run("resume", "m", env=self.direct, rc=None).rc != 0:
            return  # the next fault is upon its server: again at the next look
        self.say(f"paused: {reason}; resumed")
        self.resumes.append(why)

    # --- its course ---

    def run(self):
        """Raises AssertionError with what is wrong. Afterwards: story, hit, resumes."""
        try:
            with Postgres(POSTGRES) as self.postgres:
                self.database = self.postgres.database()
                self.redis = Redis(REDIS, tcp=True)
                self.redis.start()
                self.space = None
                try:
                    self._with_servers()
                finally:
                    self._keep(self.postgres.log_path, self.redis.log_path)
                    self.redis.remove()
                    if self.space:
                        self.postgres.stop("immediate")
                        subprocess.run(["umount", "-l", self.space], check=True)
        finally:
            (self.folder / "story").write_text("\n".join(self.story) + "\n")

    def _tablespace(self):
        if not any(step.fault == "disk_full" for step in self.draw.steps):
            return None
        self.space = temporary_directory("space")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", self.space], check=True)
        home = self.space / "tables"
        home.mkdir()
        give_to_server_user(home)
        self.postgres.sql(f"CREATE TABLESPACE small LOCATION '{home}'")
        return "small"

    def _with_servers(self):
        keys = create(self.database, self.draw, self._tablespace())
        with Proxy(self.postgres.socket) as self.postgres_network, Proxy(self.redis.socket) as self.redis_network:
            self.programs = Drover(self.postgres_network.url(self.database.url), self.redis_network.url(self.redis.url))
            try:
                self._run(keys)
                checks.all_of(self)
            except BaseException as e:
                self.say(f"FAILED: {e}")
                self.postgres_network.heal()
                self.redis_network.heal()
                raise
            finally:
                self.programs.close(timeout_s=30, keep=self.folder)

    def _run(self, keys):
        path = self.programs.migration("m", self.draw.migration)
        self.fleet = Fleet(self.programs, self.draw, path, self.lease_s, self.say)
        self.programs.run("init", env=self.direct)
        self.sql(checks.NOTE_WHAT_IS_FOUND)
        # So long between a lane's transactions that there is work while the faults hit; statements that hang end soon.
        # The application is traffic that a fleet gives way to: in every other round it does not, and all of its lanes are at work at once.
        throttle = "on" if self.draw.seed % 2 == 0 else "off"
        self.programs.run("config", "processing_interval_ms=100", "query_timeout_ms=3000", "backoff=1", f"throttle={throttle}",
                          *([f"batch_size={self.draw.batch_size}", "target_ms=1"] if self.draw.parts else []), env=self.direct)
        self.application = Application(self.database, self.draw, keys)
        self.application.start()
        self.fleet.start()
        self._break_things()
        self.application.stop()
        self.say(f"nothing is broken any more; the application wrote {self.application.writes} times")
        if self.fleet.result is not None and self.draw.way == "pending":
            self._sweep_again()
        self._end()

    def _break_things(self):
        waiting, active = list(self.draw.steps), {}
        patience = _Patience(self)
        while waiting or active or self.rows_done < LAST_SHARE * self.draw.rows or not self.stream:
            self.fleet.supervise()
            self._look()
            if not self.stream:
                self._find_stream()
            for step in [s for s in waiting if self.stream and s.share * self.draw.rows <= self.rows_done and s.until()]:
                if FAULTS[step.fault].group not in {FAULTS[s.fault].group for s in active.values()} and self._advance(step, None, active):
                    waiting.remove(step)
            for generator, step in list(active.items()):
                if step.until():
                    del active[generator]
                    self._advance(step, generator, active)
            patience.check(lambda: f"{waiting} wait, {list(active.values())} last")
            time.sleep(0.02)

    def _sweep_again(self):
        """It was complete before the application had stopped writing the old shape: only its people know when that is so."""
        self.say("complete before the application stopped")
        self.programs.run("pause", "m", env=self.direct)
        self.programs.run("resume", "m", env=self.direct)
        self.fleet.start_producer()

    def _advance(self, step, generator, active):
        """A fault's next step; False: it cannot begin yet."""
        begins = generator is None
        if begins:
            generator = FAULTS[step.fault](self, random.Random(step.seed))
        try:
            wait = next(generator)
        except StopIteration as end:
            if end.value is False:
                self.hit.remove(step.fault)
            self.say(f"{step.fault} {'met nothing' if end.value is False else 'is over'}")
            return True
        except _AWAY:
            step.refusals += 1
            if not begins or step.refusals > 40:
                raise
            step.until = wait_over(None, time.monotonic() + 0.5)
            return False
        if begins:
            self.say(f"{step.fault} at {self.rows_done} rows")
            self.hit.append(step.fault)
        now = time.monotonic()
        step.until = wait_over(wait, now + LONGEST_S) if callable(wait) else wait_over(None, now + wait)
        active[generator] = step
        return True

    def _find_stream(self):
        try:
            (installation, number), = self.sql("SELECT installation, id FROM drover.meta, drover.migrations")
            if self.draw.turns:  # as if ranges had been cut so much larger than transactions should be
                self.sql("UPDATE drover.worker_config SET value = %s WHERE key = 'batch_size'", (str(PART_ROWS),))
            elif self.draw.parts:  # the size that it was registered with stays; workers keep to one that is set
                self.sql("DELETE FROM drover.worker_config WHERE key = 'batch_size'")
            self.stream = f"drover:{{{installation}:{number}}}:jobs"
        except (psycopg.Error, ValueError):
            pass  # not registered yet

    def _end(self):
        """It heals: by itself, until it is through."""
        self._until_through()
        if self.draw.mends and self.fleet.result == 4:
            self._replay()
            self._until_through()

    def _until_through(self):
        patience = _Patience(self)
        while self.fleet.result is None:
            self.fleet.supervise()
            self._look()
            patience.check(lambda: f"{self.state()}: {self.fleet.producer!r}")
            time.sleep(0.05)

    def _replay(self):
        """The dead letters' rows are mended; their replay meets one fault more."""
        rng = random.Random(f"replay {self.draw.seed}")
        self.sql("UPDATE t SET ok = 1")
        self.say(self.programs.run("retry", "all", "--migration", "m", "--yes").out.strip())
        for name in rng.choice([[], ["redis_flushed"], ["all_workers_killed"], ["redis_flushed", "all_workers_killed"]]):
            next(FAULTS[name](self, rng))
            self.say(name)
        self.fleet.start_producer()

    def _keep(self, *logs):
        for log in logs:
            if log.exists():
                shutil.copy(log, self.folder / f"{log.parent.name}.log")


def wait_over(event, deadline):
    """A function: is a wait over, at this time or (unless None) by this event?"""

    def over():
        try:
            return time.monotonic() >= deadline or event is not None and event()
        except _AWAY:
            return False

    return over
