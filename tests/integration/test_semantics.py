"""What the change of a row means: nothing newer overwritten, exactly once, what is meant and nothing else."""

import re
import threading

import pytest

from lib.process import wait_for
from lib.scenario import BY_STEPS, Gate, finish, queue, stream, wait_for_state

MODES = ["batch", "row"]


def test_each_column_is_filled_only_where_it_is_empty(pg, drover):
    """What the application wrote in one column stays, also where another is still empty."""
    pg.sql("""CREATE TABLE p (id int PRIMARY KEY, name text, first text, last text);
              INSERT INTO p SELECT g, 'Ada Lovelace', CASE WHEN g % 3 = 1 THEN 'written' END, CASE WHEN g % 3 = 2 THEN 'written' END
                FROM generate_series(1, 300) g;
              INSERT INTO p VALUES (1001, 'Plato', NULL, NULL), (1002, NULL, NULL, NULL), (1003, NULL, 'written', NULL)""")
    finish(drover, drover.migration("m", "-- drover: table p\n-- drover: set first = split_part(name, ' ', 1)\n"
                                         "-- drover: set last = nullif(split_part(name, ' ', 2), '')\n-- drover: batch-size 50\n"))
    assert pg.sql("SELECT first, last, count(*) FROM p WHERE id <= 300 GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("Ada", "Lovelace", 100), ("Ada", "written", 100), ("written", "Lovelace", 100)]
    assert pg.sql("SELECT first, last FROM p WHERE id > 1000 ORDER BY id") == [("Plato", None), (None, None), ("written", None)]
    drover.run("verify", "m")


class Application(threading.Thread):
    """Writes while Drover runs: new rows in the old and the new shape, changes, deletes. Remembers what must be there in the end."""

    def __init__(self, pg, rows):
        super().__init__(daemon=True)
        self.pg, self.rows, self.wanted, self.error, self.writes, self.over = pg, rows, {}, None, 0, threading.Event()

    def run(self):
        try:
            with self.pg.conn() as conn:
                while not self.over.is_set() and self.writes < 3000:
                    self.write(conn, self.writes)
                    self.writes += 1
        except Exception as e:
            self.error = e

    def write(self, conn, n):
        victim = (n * 7919) % self.rows + 1
        kind = n % 5
        if kind == 0:  # a version of the application that knows the new column
            if conn.execute("UPDATE t SET a = %s, b = 'app ' || %s WHERE id = %s", (n, n, victim)).rowcount:
                self.wanted[victim] = f"app {n}"
        elif kind == 1:  # one that does not, on a row in the old shape
            if conn.execute("UPDATE t SET a = %s WHERE id = %s AND b IS NULL", (n, victim)).rowcount:
                self.wanted[victim] = f"drover {n}"
        elif kind == 2:
            conn.execute("DELETE FROM t WHERE id = %s", (victim,))
            self.wanted[victim] = None
        elif kind == 3:
            conn.execute("INSERT INTO t VALUES (%s, %s, NULL)", (-n, n))
            self.wanted[-n] = f"drover {n}"
        else:
            conn.execute("INSERT INTO t VALUES (%s, %s, %s)", (self.rows + n, n, f"app {n}"))
            self.wanted[self.rows + n] = f"app {n}"

    def stop(self):
        self.over.set()
        self.join(60)
        assert self.error is None, self.error


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["set", "backfill"])
def test_nothing_that_the_application_wrote_meanwhile_is_overwritten(pg, drover, mode, way):
    rows = 1500
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); INSERT INTO t SELECT g, -g FROM generate_series(1, {rows}) g")
    change = {"set": "-- drover: set b = 'drover ' || a\n",
              "backfill": "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = 'drover ' || a FROM :batch x WHERE x.id = "
                          "t.id" + BY_STEPS}[way]
    path = drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 20\n{change}")
    drover.run("init")
    drover.run("config", "processing_interval_ms=10")
    application = Application(pg, rows)
    worker = drover.worker("--concurrency", "2")
    application.start()
    producer = drover.popen("produce", path, "--wait")
    # New rows in the old shape come to an end some time: before that it cannot be complete.
    wait_for(lambda: application.writes >= 1000 and pg.value("SELECT scan_done_at IS NOT NULL FROM drover.migrations"),
             "the scan is through")
    application.stop()
    producer.wait(120)
    worker.terminate()
    worker.wait()
    found = dict(pg.sql("SELECT id, b FROM t"))
    wrong = {id_: (found.get(id_), wanted) for id_, wanted in application.wanted.items() if found.get(id_) != wanted}
    assert not wrong
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL OR b NOT LIKE 'app %' AND b <> 'drover ' || a") == 0
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
    drover.run("verify", "m")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["set", "backfill", "handler"])
def test_a_migration_that_does_not_converge_is_paused_and_changes_nothing(pg, drover, mode, way):
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 50) g;
              CREATE PROCEDURE p(keys int[]) LANGUAGE sql AS $$ UPDATE t SET n = n + 1 WHERE id = ANY (keys) AND id <> 25 $$""")
    change = {"set": "-- drover: set n = n + CASE WHEN id = 25 THEN 0 ELSE 1 END\n", "handler": "-- drover: handler procedure p\n",
              "backfill": "-- drover: backfill\nUPDATE t SET n = n + 1 FROM :batch x WHERE x.id = t.id AND t.id <> 25;\n"}[way]
    path = drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: pending n < 1\n{change}")
    queue(drover, path)
    worker = drover.worker()
    reason = wait_for_state(pg, "m", "paused")
    assert "does not converge" in reason and "{25}" in reason
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT sum(n) FROM t") == 0
    assert pg.value("SELECT count(*) FROM drover.failed_jobs") == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["set", "backfill"])
def test_ledger_only_changes_each_row_once_whatever_is_delivered_how_often(pg, drover, redis, mode, way):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g * 3 FROM generate_series(1, 400) g")
    change = {"set": "-- drover: set n = n + 1\n",
              "backfill": "-- drover: backfill\nUPDATE t SET n = n + 1 FROM :batch x WHERE x.id = t.id" + BY_STEPS}[way]
    path = drover.migration("m", f"-- drover: table t\n-- drover: ledger\n-- drover: mode {mode}\n-- drover: batch-size 25\n{change}")
    queue(drover, path)
    client = redis.client(decode_responses=False)
    name = stream(pg, "m")
    jobs = [fields for _, fields in client.xrange(name)]
    assert len(jobs) == (16 if mode == "batch" else 400)
    for fields in jobs * 2:
        client.xadd(name, fields)
    pg.sql("INSERT INTO t VALUES (1), (100000)")  # not what the scan found
    finish(drover, path, worker=["--concurrency", 4])
    for fields in jobs:  # and once more when all is over
        client.xadd(name, fields)
    drover.run_worker("--stop-when-empty")
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(0, 2), (1, 400)]
    result = drover.run("verify", "m")
    assert "covered by the ledger" in result.out and "verified" not in result.out
    assert pg.value("SELECT count(*) FROM drover.row_receipts") == 0 or mode == "row"


def test_ledger_only_with_gaps_does_not_touch_rows_that_came_later(pg, drover):
    """A range of keys that is not dense is kept as a list: rows inserted between scan and job are not of it."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT g * 2 FROM generate_series(1, 100) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: set n = n + 1\n-- drover: batch-size 10\n")
    queue(drover, path)
    pg.sql("INSERT INTO t SELECT g * 2 + 1 FROM generate_series(1, 99) g; DELETE FROM t WHERE id IN (20, 40)")
    finish(drover, path)
    assert pg.sql("SELECT id % 2, n, count(*) FROM t GROUP BY 1, 2 ORDER BY 1") == [(0, 1, 98), (1, 0, 99)]


@pytest.mark.parametrize("mode", MODES)
def test_where_says_which_rows_are_meant(pg, drover, mode):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, kind text, a int, b int); INSERT INTO t SELECT g, CASE WHEN g % 4 = 0 THEN 'x' ELSE 'y' "
           "END, g FROM generate_series(1, 400) g")
    path = drover.migration("m", f"-- drover: table t\n-- drover: mode {mode}\n-- drover: where kind = 'x' -- only these\n-- drover: set b "
                                 f"= a\n-- drover: batch-size 30\n")
    queue(drover, path)
    pg.sql("UPDATE t SET kind = 'y' WHERE id = 8; UPDATE t SET kind = 'x' WHERE id = 9")  # as it is at the moment of the change
    finish(drover, path)
    assert pg.value("SELECT array_agg(id) FROM t WHERE (kind = 'x') <> (b IS NOT NULL)") is None
    drover.run("verify", "m")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("type_, parameter", [("bigint", "text[]"), ("bigint", "bigint[]"), ("uuid", "uuid[]"), ("uuid", "text[]")])
def test_a_handler_gets_the_keys_as_it_takes_them(pg, drover, mode, type_, parameter):
    key = {"bigint": "g", "uuid": "md5(g::text)::uuid"}[type_]
    pg.sql(f"""CREATE SCHEMA app; CREATE TABLE t (id {type_} PRIMARY KEY, done int, calls int NOT NULL DEFAULT 0);
               INSERT INTO t SELECT {key} FROM generate_series(1, 120) g;
               CREATE PROCEDURE app."Do it"(keys {parameter}) LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE t SET done = cardinality(keys), calls = calls + 1 WHERE id::text = ANY (keys::text[]); END $$""")
    finish(drover, drover.migration("m", f'-- drover: table t\n-- drover: mode {mode}\n-- drover: pending done IS NULL\n'
                                         f'-- drover: handler procedure app."Do it"\n-- drover: batch-size 40\n'))
    assert pg.value("SELECT count(*) FROM t WHERE calls = 1 AND done BETWEEN 1 AND 40") == 120


@pytest.mark.parametrize("mode", MODES)
def test_several_statements_see_the_same_keys(pg, drover, mode):
    """The predicate looks at another table, and the first statement makes it false; the second still has its rows."""
    pg.sql("""CREATE TABLE customers (id int PRIMARY KEY, street text, city text, address_id int);
              CREATE TABLE addresses (id serial PRIMARY KEY, customer_id int UNIQUE, street text, city text);
              CREATE TABLE log (n int, keys int[]);
              INSERT INTO customers SELECT g, CASE WHEN g % 10 <> 0 THEN 'street ' || g END, 'city' FROM generate_series(1, 300) g;
              INSERT INTO addresses (customer_id, street, city) SELECT g, 'written', 'by the application' FROM generate_series(1, 20) g;
              UPDATE customers SET address_id = (SELECT id FROM addresses WHERE customer_id = customers.id) WHERE id <= 20""")
    finish(drover, drover.migration("m", f"""
-- drover: table    customers
-- drover: mode     {mode}
-- drover: batch-size 40
-- drover: where    street IS NOT NULL
-- drover: pending  NOT EXISTS (SELECT FROM addresses a WHERE a.customer_id = customers.id)

-- drover: backfill
INSERT INTO addresses (customer_id, street, city)
SELECT c.id, c.street, c.city FROM customers c JOIN :batch b ON b.id = c.id
ON CONFLICT (customer_id) DO NOTHING;

UPDATE customers c SET address_id = a.id
  FROM :batch b JOIN addresses a ON a.customer_id = b.id
 WHERE c.id = b.id;

INSERT INTO log SELECT count(*), :keys FROM :batch;
"""))
    assert pg.value("SELECT count(*) FROM customers c JOIN addresses a ON a.id = c.address_id AND a.customer_id = c.id WHERE c.street = "
                    "a.street") == 252
    assert pg.sql("SELECT count(*), count(address_id) FROM customers WHERE street IS NULL OR id <= 20") == [(48, 20)]
    assert pg.value("SELECT array_agg(k ORDER BY k) = (SELECT array_agg(id ORDER BY id) FROM customers WHERE id > 20 AND id % 10 <> 0) "
                    "FROM log, unnest(keys) k")
    assert pg.value("SELECT count(*) FROM log WHERE n <> cardinality(keys)") == 0
    drover.run("verify", "m")


def test_placeholders_are_tokens(pg, drover):
    """:batch and :keys in strings, comments, dollar quotes and casts are left alone."""
    pg.sql("CREATE DOMAIN keys AS text; CREATE TABLE t (id int PRIMARY KEY, b text); INSERT INTO t SELECT g FROM generate_series(1, 20) g")
    finish(drover, drover.migration("m", """
-- drover: table t
-- drover: pending b IS NULL
-- drover: backfill
/* not :batch /* nor :keys */ */
UPDATE t SET b = ':batch' || $$ :keys $$ || $x$ :batch $x$ || E'\\':keys' || ' text'::keys  -- :batch :keys
 WHERE t.id = ANY (:keys) AND id IN (SELECT ":batch".id FROM :batch AS ":batch") AND (ARRAY[1,2,3])[1:2] IS NOT NULL;
"""))
    assert pg.sql("SELECT DISTINCT b FROM t") == [(":batch :keys  :batch ':keys text",)]


def test_the_key_does_not_change(pg, drover):
    """Neither can the walk's own key, nor does another unique column need anything special."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, code int UNIQUE, moved bool); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g;"
           "CREATE TABLE child (code int REFERENCES t (code) ON UPDATE CASCADE); INSERT INTO child SELECT code FROM t")
    result = drover.run("produce", drover.migration("key", "-- drover: table t\n-- drover: pending moved IS NULL\n-- drover: set id = id + "
                                                           "1000\n-- drover: set moved = true\n"), rc=1)
    assert re.search(r":3: .*key", result.err), result
    finish(drover, drover.migration("m", "-- drover: table t\n-- drover: pending moved IS NULL\n-- drover: batch-size 30\n"
                                         "-- drover: set code = code + 1000000\n-- drover: set moved = true\n"))
    assert pg.sql("SELECT min(t.code), max(t.code), count(*) FROM t JOIN child USING (code)") == [(1000001, 1000100, 100)]


def test_rows_may_be_deleted(pg, drover):
    """An archive: the rows go to another table."""
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, old bool); INSERT INTO t SELECT g, g % 2 = 0 FROM generate_series(1, 200) g;
              CREATE TABLE archive (LIKE t INCLUDING ALL)""")
    text = "-- drover: table t\n-- drover: mode {}\n-- drover: pending old\n-- drover: batch-size 30\n-- drover: where id {} 100\n-- drover: backfill\n" \
           "INSERT INTO archive SELECT t.* FROM t JOIN :batch USING (id);\nDELETE FROM t USING :batch x WHERE x.id = t.id;\n"
    finish(drover, drover.migration("batch", text.format("batch", "<=")), drover.migration("row", text.format("row", ">")))
    assert pg.sql("SELECT count(*), bool_or(old) FROM t") == [(100, False)]
    assert pg.sql("SELECT count(*), bool_and(old) FROM archive") == [(100, True)]


@pytest.mark.parametrize("way", ["set", "backfill"])
def test_child_rows_can_be_inserted_while_a_job_holds_its_locks(pg, drover, way):
    """FOR NO KEY UPDATE, not FOR UPDATE: the application's foreign keys are not held up."""
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g;
              CREATE TABLE child (t_id int REFERENCES t)""")
    gate = Gate(pg)
    change = {"set": "-- drover: set b = gate(a)\n",
              "backfill": "-- drover: backfill\nUPDATE t SET b = a FROM :batch x WHERE x.id = t.id;\nSELECT gate(1);\n"}[way]
    producer = drover.popen("produce", drover.migration("m", f"-- drover: table t\n-- drover: pending b IS NULL\n-- drover: lock-timeout "
                                                             f"60s\n{change}"), "--wait")
    worker = drover.worker()
    gate.wait()
    with pg.conn() as app:
        app.execute("SET lock_timeout = '5s'")
        app.execute("INSERT INTO child SELECT g FROM generate_series(1, 50) g")
    gate.open()
    producer.wait()
    worker.terminate()
    worker.wait()


def test_two_producers_of_one_migration(pg, drover):
    """The second says who has it, waits, and takes over when the first is gone."""
    gate = Gate(pg)
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: pending b IS NULL\n-- drover: lock-timeout 60s\n-- drover: set b = "
                                 "gate(a)\n")
    worker = drover.worker()
    first = drover.popen("produce", path, "--wait")
    gate.wait()
    second = drover.popen("produce", path, "--wait")
    second.wait_for_log(r"(?i)(producer|produced).*\d")
    first.kill()
    gate.open()
    second.wait(120)
    worker.terminate()
    worker.wait()
    assert pg.value("SELECT count(*) FROM t WHERE b = a") == 50


def test_settings_of_the_session_are_those_of_the_registration(pg, drover):
    """Time zone and date style of whoever runs the worker do not matter."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, day text); INSERT INTO t SELECT g, '2024-06-30 20:00:00+00' FROM "
           "generate_series(1, 50) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: set day = at::text\n-- drover: pending day IS NULL\n")
    drover.run("produce", path, env={"PGOPTIONS": "-c TimeZone=Asia/Tokyo -c DateStyle=German"})
    drover.run_worker("--stop-when-empty", env={"PGOPTIONS": "-c TimeZone=America/New_York -c DateStyle=SQL"})
    assert pg.sql("SELECT DISTINCT day FROM t") == [("01.07.2024 05:00:00 JST",)]


def test_a_row_policy_raises_rather_than_hides_rows(pg, drover):
    role = pg.role("owner")
    pg.sql(f'GRANT CREATE ON DATABASE "{pg.name}" TO {role}; GRANT ALL ON SCHEMA public TO {role}')
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g;
              ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 10)""", user=role)
    result = drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: set b = a\n"),
                        env={"DATABASE_URL": pg.url_as(role)}, rc=1)
    assert re.search("row-level security|row security", result.err), result
