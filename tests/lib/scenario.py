"""What many tests do: run migrations to their end, hold jobs in their transactions, look at the ledger; be the application."""

import contextlib
import threading

from lib.process import wait_for

# The end of a section that would amount to a `set` without it, and be done in one statement: it is done step by step.
BY_STEPS = " AND true;\n"

# Each row of a table t takes a millisecond; and the most rows that one transaction changed to n = 1.
SLOW = """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
          CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
PER_TRANSACTION = "SELECT max(n) FROM (SELECT count(*) AS n FROM t WHERE n = 1 GROUP BY xmin::text) AS x"


def finish(drover, *paths, produce=(), worker=(), rc=0, timeout_s=120):
    """Produce these migrations at the same time, with one worker, until all are through; the producers' Results.

    rc: the exit status that each must end with.
    """
    producers = [drover.popen("produce", path, "--wait", *map(str, produce)) for path in paths]
    fleet = drover.worker(*map(str, worker))
    results = [producer.wait(timeout_s, rc=rc) for producer in producers]
    fleet.terminate()
    fleet.wait()
    return results


def queue(drover, *paths, produce=()):
    """Produce these migrations, with no worker yet: every job lies in Redis when this returns."""
    for path in paths:
        drover.run("produce", path, *produce)


def migration_id(pg, name):
    return pg.value("SELECT id FROM drover.migrations WHERE name = %s", (name,))


def state(pg, name):
    """(state, reason) of a migration."""
    return pg.sql("SELECT state, state_reason FROM drover.migrations WHERE name = %s", (name,))[0]


def wait_for_state(pg, name, wanted):
    """Until the migration is in this state; the reason."""
    wait_for(lambda: state(pg, name)[0] == wanted, lambda: f"{name} is {wanted}, not {state(pg, name)}")
    return state(pg, name)[1]


def dead(pg, name):
    """Keys of a migration's dead letters, as lists of texts, in the order of their numbers."""
    return [row[0] for row in pg.sql("""SELECT key FROM drover.failed_jobs f JOIN drover.migrations m ON m.id = f.migration_id
                                         WHERE m.name = %s AND f.state = 'dead' ORDER BY f.id""", (name,))]


def rows_done(pg, name):
    return pg.value("""SELECT coalesce(sum(rows_changed), 0)::bigint FROM drover.lane_counts
                        WHERE migration_id = (SELECT id FROM drover.migrations WHERE name = %s)""", (name,))


def workers_die(pg, drover, times):
    """One after the other, each in the middle of what it does of the migration m; their leases are of 3 s."""
    for _ in range(times):
        begun = rows_done(pg, "m")
        worker = drover.worker("--lease", "3s")
        wait_for(lambda: rows_done(pg, "m") > begun, "rows are done")
        worker.kill()


def worker_backends(pg):
    """Process ids of the workers' connections, but for lanes at work. Others of this server's databases are not meant."""
    return {pid for (pid,) in pg.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'drover-worker' AND datname = current_database()")}


def stream(pg, name):
    """The name of a migration's stream in Redis."""
    return f"drover:{{{pg.value('SELECT installation FROM drover.meta')}:{migration_id(pg, name)}}}:jobs"


def delayed(pg, name):
    return stream(pg, name).removesuffix("jobs") + "delayed"


class Gate:
    """Holds jobs in the middle of their transactions: SQL that calls gate() waits until the gate is opened.

    gate(x) gives x back, so that it fits into any expression: `set b = gate(a)`. The migration needs a long lock-timeout.
    who: a pattern for application_name ('drover a/%'); others go through.
    """

    KEY = 4711

    def __init__(self, pg, who="%"):
        self.pg = pg
        pg.sql(f"""CREATE OR REPLACE FUNCTION public.gate(x anyelement) RETURNS anyelement LANGUAGE plpgsql AS $$
            BEGIN
              IF current_setting('application_name') LIKE '{who}' THEN
                PERFORM pg_advisory_xact_lock_shared({self.KEY});
              END IF;
              RETURN x;
            END $$""")
        self.conn = pg.conn()
        self.close()

    def close(self):
        self.conn.execute(f"SELECT pg_advisory_lock({self.KEY})")

    def open(self):
        self.conn.execute("SELECT pg_advisory_unlock_all()")

    def waiting(self):
        """Names of the lanes that wait at the gate."""
        return [row[0] for row in self.pg.sql("""SELECT application_name FROM pg_stat_activity
            WHERE wait_event = 'advisory' AND datname = current_database() AND application_name LIKE 'drover %'""")]

    def wait(self, lanes=1):
        """Until so many lanes wait at the gate."""
        wait_for(lambda: len(self.waiting()) >= lanes, lambda: f"{lanes} lanes wait at the gate, not {self.waiting()}")


@contextlib.contextmanager
def traffic(pg, query="SELECT pg_sleep(0.02)", sessions=3):
    """Sessions of an application that are at work all the time."""
    over = threading.Event()

    def work():
        with pg.conn() as conn:
            while not over.is_set():
                conn.execute(query)

    threads = [threading.Thread(target=work) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
