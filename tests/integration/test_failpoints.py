"""Death at every named step of a job's, a producer's and a replay's life: whoever comes next leaves every row changed once.

The steps are common/core/failpoint.def. Each death has a database of its own; those of one scenario happen at the same time.
"""

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.drover import Drover
from lib.process import wait_for
from lib.scenario import BY_STEPS, dead, delayed, finish, queue, state, stream

ROOT = Path(__file__).resolve().parents[2]
POINTS = dict(re.findall(r'^X\((\w+), "(.*)"\)$', (ROOT / "common/core/failpoint.def").read_text(), re.MULTILINE))
AT_A_TIME = 6
ROWS = 12
WORKER = ["--concurrency", "1", "--lease", "3"]

BATCHES = {"ledger batches": "-- drover: ledger\n-- drover: set n = n + 1\n",
           "pending batches": "-- drover: pending n = 0\n-- drover: set n = n + 1\n"}
ROWWISE = {"ledger rows": "-- drover: mode row\n" + BATCHES["ledger batches"],
           "pending rows": "-- drover: mode row\n-- drover: pending n = 0\n-- drover: backfill\n"
                           "UPDATE t SET n = n + 1 FROM :batch x WHERE x.id = t.id" + BY_STEPS}
KINDS = {**BATCHES, **ROWWISE}
ANY = list(KINDS)
SOME = ["ledger rows", "pending batches"]  # where the kind makes no difference


class Case:
    """A table, a migration of one kind, and one death."""

    def __init__(self, pg, redis, drover, kind, point):
        self.pg, self.redis, self.drover, self.kind, self.point = pg, redis.client(), drover, kind, point
        self.env = {"DROVER_FAILPOINT": f"{point}=kill@1"}
        pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, CONSTRAINT poison CHECK (true));
                   INSERT INTO t SELECT g FROM generate_series(1, {ROWS}) g""")

    def migration(self, options="", name="m"):
        head = "-- drover: table t\n-- drover: batch-size 4\n-- drover: backoff 0.1\n"
        return self.drover.migration(name, head + options + KINDS[self.kind])

    def poison(self):
        self.pg.sql("ALTER TABLE t DROP CONSTRAINT poison, ADD CONSTRAINT poison CHECK (id <> 7 OR n = 0)")

    def worker(self, **env):
        return self.drover.worker(*WORKER, env={**self.env, **env})

    def produce(self, *args):
        return self.drover.popen("produce", self.path, *args, env=self.env)

    def died(self, process):
        """It ended at the point, and nowhere else."""
        process.wait(rc=-signal.SIGKILL)
        assert process.err.endswith(f"failpoint {self.point}\n"), repr(process)

    def age(self):
        """As if the dead one's leases were over. For a producer's own end one point waits."""
        if self.point != "producer_leased":
            self.pg.sql("UPDATE drover.migrations SET producer_until = now(), auditor_until = now() WHERE producer_until > now()")
        jobs = stream(self.pg, "m")
        if self.redis.exists(jobs) and self.redis.xinfo_groups(jobs):
            for entry in self.redis.xpending_range(jobs, "workers", "-", "+", 1000):
                self.redis.xclaim(jobs, "workers", entry["consumer"], 0, [entry["message_id"]], idle=3600000, justid=True)

    def lock(self, row):
        """The application locks a row."""
        self.application = self.pg.conn(autocommit=False)
        self.application.execute("SELECT FROM t WHERE id = %s FOR UPDATE", (row,))

    def wait_for_a_lane_at_the_lock(self):
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        wait_for(lambda: self.pg.value(waiting),
                 "a lane waits for the application's lock")

    def standing(self):
        """(row, how often it was changed) where that is not once, dead letters, jobs in Redis."""
        return (self.pg.sql("SELECT id, n FROM t WHERE n <> 1"), dead(self.pg, "m"),
                self.redis.xlen(stream(self.pg, "m")) + self.redis.zcard(delayed(self.pg, "m")))

    def heal(self):
        """Others go on: every row once, but for a poison row, and nothing left in Redis."""
        poison = "id <> 7" in self.pg.value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'poison'")
        right = ([(7, 0)], [["7"]], 0) if poison else ([], [], 0)
        self.age()
        worker = self.drover.worker(*WORKER)
        self.drover.popen("produce", self.path, "--wait").wait(rc=4 if poison else None)
        wait_for(lambda: self.standing() == right, lambda: f"{right}, not {self.standing()}; {worker!r}")
        self.drover.run("verify", "m", rc=3 if poison else 0)
        worker.terminate()
        worker.wait()
        assert self.standing() == right


# --- who dies, and when: each ends with the death ---


def at_work(case):
    case.path = case.migration()
    queue(case.drover, case.path)
    case.died(case.worker())


def at_a_take_over(case):
    """A first worker dies with jobs in hand; the second one takes them over."""
    case.path = case.migration()
    queue(case.drover, case.path)
    case.worker(DROVER_FAILPOINT="worker_fetched=kill@1").wait(rc=-signal.SIGKILL)
    case.age()
    case.died(case.worker())


def at_a_renewal(case):
    case.path = case.migration("-- drover: lock-timeout 60s\n")
    queue(case.drover, case.path)
    case.lock(3)
    case.died(case.worker())
    case.application.close()


def at_a_drain(case):
    case.path = case.migration("-- drover: lock-timeout 60s\n")
    queue(case.drover, case.path)
    case.lock(3)
    worker = case.worker()
    case.wait_for_a_lane_at_the_lock()
    worker.terminate()
    case.died(worker)
    case.application.close()


def with_a_poison_row(case):
    case.path = case.migration()
    case.poison()
    queue(case.drover, case.path)
    case.died(case.worker())


def with_a_locked_row(case):
    case.path = case.migration("-- drover: lock-timeout 50ms\n")
    queue(case.drover, case.path)
    case.lock(7)
    case.died(case.worker())
    case.application.close()


def at_a_pause(case, more=""):
    case.path = case.migration()
    queue(case.drover, case.path)
    case.pg.sql(more)
    case.pg.sql("ALTER TABLE t RENAME COLUMN n TO gone")
    case.died(case.worker())
    case.pg.sql("ALTER TABLE t RENAME COLUMN gone TO n")
    if state(case.pg, "m")[0] == "paused":
        case.drover.run("resume", "m")


def at_a_pause_of_what_was_taken_over(case):
    at_a_pause(case, "UPDATE drover.batches SET marks = '{}'")


def producing(case):
    case.path = case.migration()
    case.died(case.produce())
    case.drover.run("init")
    if case.pg.value("SELECT count(*) FROM drover.migrations"):
        case.age()
    queue(case.drover, case.path)


def producing_to_the_end(case):
    case.path = case.migration()
    worker = case.drover.worker(*WORKER)
    case.died(case.produce("--wait"))
    worker.terminate()
    worker.wait()


def refilling(case):
    case.path = case.migration()
    queue(case.drover, case.path)
    case.redis.delete(stream(case.pg, "m"))
    case.died(case.produce())


def _mended(case):
    case.path = case.migration()
    case.poison()
    finish(case.drover, case.path, worker=WORKER, rc=4)
    case.pg.sql("ALTER TABLE t DROP CONSTRAINT poison, ADD CONSTRAINT poison CHECK (true)")


def retrying(case):
    _mended(case)
    case.died(case.drover.popen("retry", "all", env=case.env))


def at_a_replay(case):
    _mended(case)
    case.drover.run("retry", "all")
    case.died(case.worker())


def amending(case):
    case.path = case.migration()
    queue(case.drover, case.path)
    case.drover.run("pause", "m")
    case.died(case.drover.popen("amend", "m", case.migration("-- drover: tries 2\n", "mended"), env=case.env))
    case.path = case.drover.migration("m", case.migration("-- drover: tries 2\n", "mended").read_text())
    case.drover.run("amend", "m", case.path)
    case.drover.run("resume", "m")


TRANSACTION = ["worker_before_claim", "worker_before_commit", "worker_commit_sent", "worker_committed"]
BURIAL = ["worker_failed", "worker_before_bury", "worker_bury_before_commit", "worker_bury_sent", "worker_buried", "worker_breaker_asked"]
SPLIT = ["worker_before_split", "worker_split_before_commit", "worker_split_sent", "worker_split_done", "worker_parts_sent"]

# (scenario, kinds of migration in which its points can be reached, points)
DEATHS = [
    (at_work, ANY, ["worker_fetched", *TRANSACTION, "worker_ack_sent", "worker_acked"]),
    (at_a_take_over, ANY, ["worker_take_over_sent", "worker_taken_over"]),
    (at_a_take_over, BATCHES, ["worker_before_mark", "worker_mark_sent", "worker_marked"]),
    (at_a_renewal, SOME, ["worker_renew_sent", "worker_renewed"]),
    (at_a_drain, SOME, ["worker_before_give_back", "worker_give_back_sent", "worker_gave_back"]),
    (with_a_poison_row, ANY, BURIAL),
    (with_a_poison_row, BATCHES, SPLIT),
    (with_a_locked_row, ANY, ["worker_promote_sent", "worker_promoted"]),
    (with_a_locked_row, BATCHES, ["worker_before_note", "worker_noted", "worker_before_delay", "worker_delay_sent"]),
    (with_a_locked_row, ROWWISE, ["worker_before_retry", "worker_retry_sent", "worker_retrying", "worker_retry_pushed"]),
    (at_a_pause, SOME, ["worker_before_pause", "worker_pause_done"]),
    (at_a_pause_of_what_was_taken_over, BATCHES, ["worker_before_unmark", "worker_unmark_sent", "worker_unmarked"]),
    (producing, ["ledger batches"], ["schema_before_commit", "schema_installed", "register_before_commit", "registered"]),
    (producing, ANY, ["producer_leased", "scan_before_commit", "scan_committed", "push_one", "scan_pushed", "scan_marked", "audit_begun",
                      "audit_walked"]),
    (producing_to_the_end, ANY, ["before_complete", "completed"]),
    (producing_to_the_end, ROWWISE, ["windows_before_close", "windows_closed"]),
    (producing_to_the_end, ["pending batches", "pending rows"], ["sweep_begun"]),
    (refilling, ANY, ["audit_pushed", "push_one"]),
    (retrying, SOME, ["retry_queued", "retry_pushed", "push_one"]),
    (at_a_replay, SOME, [*TRANSACTION, "worker_ack_sent"]),
    (amending, SOME, ["register_before_commit", "registered"]),
]


def test_every_point_has_its_deaths():
    assert sorted(POINTS) == sorted({point for _, _, points in DEATHS for point in points})


def one_death(pg_server, redis, scenario, kind, point):
    pg = pg_server.database()
    drover = Drover(pg.url, redis.url)
    try:
        case = Case(pg, redis, drover, kind, point)
        scenario(case)
        case.heal()
        drover.close()
    except Exception as e:
        raise AssertionError(f"{scenario.__name__}, {kind}, {point}: {e}") from e
    finally:
        for process in drover.processes:
            if process.running:
                process.kill()
        pg.drop()


@pytest.mark.parametrize("scenario, kind, points", [
    pytest.param(scenario, kind, points, id=f"{scenario.__name__}-{kind}-{points[0]}".replace(" ", "-"))
    for scenario, kinds, points in DEATHS for kind in kinds])
def test_after_a_death_every_row_is_changed_once(pg_server, redis, scenario, kind, points):
    pg_server.start()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        deaths = [pool.submit(one_death, pg_server, redis, scenario, kind, point) for point in points]
        errors = [str(death.exception()) for death in deaths if death.exception()]
    assert not errors, "\n\n".join(errors)


# --- the variable ---


@pytest.mark.parametrize("point", ["scan_before_commit", "scan_committed", "scan_pushed", "scan_marked"])
def test_what_was_gathered_outlives_a_death_or_is_gathered_again(pg, drover, point):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g, CASE WHEN g % 900 > 0 THEN 0 END FROM generate_series(1, 9000) g; ANALYZE t")
    drover.run("init")
    drover.run("config", "throttle=off")
    path = drover.migration("m", "-- drover: table t\n-- drover: set n = 1\n-- drover: pending n IS NULL\n-- drover: batch-size 4\n")
    dying = drover.popen("produce", path, env={"DROVER_FAILPOINT": f"{point}=kill@2"})
    dying.wait(rc=-signal.SIGKILL)
    assert pg.value("SELECT scan_done_at IS NOT NULL FROM drover.migrations") == (point != "scan_before_commit")
    finish(drover, path)
    assert pg.sql("SELECT count(*), sum(n) FROM t WHERE n IS NOT NULL") == [(9000, 10)]


@pytest.mark.parametrize("value", ["nowhere=kill@1", "worker_acked", "worker_acked=kill", "worker_acked=kill@", "worker_acked=kill@0",
                                   "worker_acked=kill@x", "worker_acked=die@1", "worker_acked=kill@99999999999999999999", "", ",", "=",
                                   "worker_acked=kill@1,", "x" * 5000, "worker_acked=kill@1,é=\n"])
@pytest.mark.parametrize("program", ["drover", "drover-worker"])
def test_a_wrong_value_is_one_clear_error(drover, program, value):
    result = drover.run("--version", program=program, env={"DROVER_FAILPOINT": value}, rc=2)
    assert result.out == "" and result.err.count("\n") == 1 and "DROVER_FAILPOINT" in result.err


def test_a_release_knows_nothing_of_it(tmp_path):
    """Neither its preset sets the option, nor does anything of the points come through the compiler without it."""
    presets = (ROOT / "CMakePresets.json").read_text()
    assert "DROVER_FAILPOINTS" not in presets
    source = tmp_path / "use.c"
    source.write_text('#include "core/failpoint.h"\nint f(void);\n'
                      'int f(void) { FAILPOINT(worker_acked); return FAILPOINT_SET(push_one); }\n')
    for path in (source, ROOT / "common/core/failpoint.c"):
        binary = tmp_path / f"{path.stem}.o"
        subprocess.run(["cc", "-O1", "-I", ROOT / "common", "-c", path, "-o", binary], check=True)
        assert b"failpoint" not in binary.read_bytes().lower().replace(b"failpoint.c", b"")
