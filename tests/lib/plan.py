"""A migration's plan run by hand: what workers and the audit do with PostgreSQL, one step at a time and without Redis."""

import json
import subprocess

from lib.drover import binaries


class SqlError(Exception):
    def __init__(self, result):
        self.sqlstate = result.error_field(ord("C")).decode()
        super().__init__(f"{self.sqlstate}: {result.error_message.decode()}")


class Session:
    """One connection; statements have parameters $1 .. and everything is text, as in Drover."""

    def __init__(self, pg):
        self.conn = pg.conn()

    def exec(self, sql, *params):
        """Rows as dictionaries."""
        values = [None if p is None else ("true" if p is True else "false" if p is False else str(p)).encode() for p in params]
        result = self.conn.pgconn.exec_params(sql.encode(), values)
        if result.error_message:
            raise SqlError(result)
        names = [result.fname(i).decode() for i in range(result.nfields)]
        return [{name: None if (v := result.get_value(row, i)) is None else v.decode() for i, name in enumerate(names)}
                for row in range(result.ntuples)]

    def close(self):
        self.conn.close()


def array(values):
    return "{" + ",".join('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values) + "}"


def register(pg, directory, name, text, *options, command="register", rc=0):
    """Write the file and register it. The registration; if it is to be refused (rc=1), what was said."""
    path = directory / f"{name}.sql"
    path.write_text(text)
    done = subprocess.run([binaries() / "register-tool", command, pg.url, path, *map(str, options)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == rc, f"{done.stdout}{done.stderr}"
    return json.loads(done.stdout) if rc == 0 else done.stderr


class Plan:
    """The plan of a registered migration. Each method that changes something is one transaction."""

    def __init__(self, pg, migration):
        self.pg = pg
        self.id = migration["id"]
        self.load()
        self.s = Session(pg)

    def load(self):
        plan, settings, self.revision, self.mode = self.pg.sql(
            "SELECT plan, settings, revision, mode FROM drover.migrations WHERE id = %s", (self.id,))[0]
        self.settings, self.scripts, self.statements, self.key = settings, plan["scripts"], plan["statements"], plan["key"]
        self.row_local, self.turns_pay = plan["row_local"], plan["turns_pay"]

    # --- transactions ---

    def begin(self, session=None):
        s = session or self.s
        s.exec("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        s.exec("SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.json_each_text($1::json)", json.dumps(self.settings))
        return s

    def transaction(self, work):
        s = self.begin()
        try:
            rows = work(s)
            s.exec("COMMIT")
            return rows
        except SqlError:
            s.exec("ROLLBACK")
            raise

    def roles(self, script):
        return [step["role"] for step in self.scripts[script]]

    def script(self, s, name):
        for step in self.scripts[name]:
            s.exec(step["sql"])
        s.exec("SET CONSTRAINTS ALL IMMEDIATE")

    # --- the producer ---

    def window(self, cursor, rows=1000, batch=10, limit=None, which="scan", has_failed=False):
        """One window. Returns its row: cursor, scanned, found, numbers, counts, listed, keys1 .."""
        state = "open" if self.mode == "row" else "queued"
        return self.transaction(lambda s: s.exec(self.statements[which], cursor, rows, batch, state, limit, has_failed)[0])

    def window_of_keys(self, cursor, rows=1000, batch=10, together=1, tight=False):
        """The same by the keys alone; tight: and these numbers nearly without gaps."""
        return self.transaction(lambda s: s.exec(self.statements["scan_leaps"], cursor, rows, batch, "queued", together, tight)[0])

    def gather(self, cursor=None, keys=1000, size=100_000, batch=10):
        """Found, the keys found (a literal per key column, None: too many), and the batches made of them: numbers, counts, listed."""

        def work(s):
            s.exec("SELECT pg_catalog.set_config('enable_' || name, 'on', true) FROM pg_catalog.unnest('{seqscan,sort,bitmapscan}'::text[]) AS name")
            row = s.exec(self.statements["gather"], cursor, False, keys, size)[0]
            found, arrays = int(row["found"]), [row[f"keys{i + 1}"] for i in range(len(self.key))] if row["whole"] == "t" else None
            return found, arrays, s.exec(self.statements["gathered"], batch, *arrays)[0] if found and arrays else None

        return self.transaction(work)

    def scan(self, rows=1000, batch=10, **kwargs):
        """Windows until the end. The windows' rows."""
        windows, cursor = [], None
        while True:
            window = self.window(cursor, rows, batch, **kwargs)
            if window["cursor"] is None:
                return windows
            windows.append(window)
            cursor = window["cursor"]

    def batches(self, state="queued"):
        return self.pg.sql("SELECT number, keys IS NOT NULL, rows FROM drover.batches WHERE migration_id = %s AND state = %s ORDER BY number",
                           (self.id, state))

    # --- the worker ---

    def batch(self, number, listed=False):
        """Claim, transform, finish. Rows changed."""

        def work(s):
            s.exec("SELECT drover.claim_batch($1, $2, $3, $4, false)", self.id, number, self.revision, listed)
            self.script(s, "list" if listed else "range")
            return int(s.exec("SELECT drover.finish_batch($1, $2, 'w', 'w/0') AS n", self.id, number)[0]["n"])

        return self.transaction(work)

    def turn(self, number, turn, rows):
        """The batch's turn, transactions being of so many rows. Rows changed, and whether there is more to do."""

        def work(s):
            s.exec("SELECT drover.claim_batch($1, $2, $3, false, false)", self.id, number, self.revision)
            s.exec("SELECT drover.take_turn($1, $2, $3, $4)", self.id, number, turn, rows)
            self.script(s, "range")
            done = s.exec("SELECT * FROM drover.finish_slice($1, $2, 'w', 'w/0', true)", self.id, number)[0]
            return int(done["changed"]), done["more"] == "t"

        return self.transaction(work)

    def turns_of(self, number, rows):
        """Rows changed by each turn, until the batch is done."""
        changed, more = [], True
        while more:
            n, more = self.turn(number, len(changed), rows)
            changed.append(n)
        return changed

    def run_all(self):
        return sum(self.batch(number, listed) for number, listed, _ in self.batches())

    def claim_rows(self, s, windows, keys):
        """keys: a list per key column."""
        s.exec("SELECT drover.claim_rows($1, $2, $3, $4::text[])", self.id, self.revision, array(windows), array([array(k) for k in keys]))

    def rows(self, windows, keys):
        def work(s):
            self.claim_rows(s, windows, keys)
            self.script(s, "list")
            return int(s.exec("SELECT drover.finish_rows($1, 'w/0', $2) AS n", self.id, len(windows))[0]["n"])

        return self.transaction(work)

    def run(self, window, first, last):
        """Row jobs that follow one another, from one key to another (a text per key column). Rows changed."""

        def work(s):
            s.exec("SELECT drover.claim_run($1, $2, $3, $4::text[], $5::text[])", self.id, self.revision, window, array(first), array(last))
            self.script(s, "run")
            return int(s.exec("SELECT drover.finish_rows($1, 'w/0', 1) AS n", self.id)[0]["n"])

        return self.transaction(work)

    def missing(self, number, has_failed=False):
        """Keys of a window that are still to be done: a list of text lists per key column."""
        row = self.transaction(lambda s: s.exec(self.statements["missing"], number, has_failed)[0])
        return [self.pg.value("SELECT %s::text[]", (row[f"keys{i + 1}"] or "{}",)) for i in range(len(self.key))]

    def close_windows(self, has_failed=False):
        return [int(r["number"]) for r in
                self.transaction(lambda s: s.exec(self.statements["close"], 0, 1 << 40, has_failed))]

    def replay(self, *ids):
        def work(s):
            s.exec("SELECT drover.claim_failed($1, $2, $3::bigint[], false)", self.id, self.revision, array(ids))
            self.script(s, "replay")
            return int(s.exec("SELECT drover.finish_rows($1, 'w/0', $2) AS n", self.id, len(ids))[0]["n"])

        return self.transaction(work)

    def split(self, number, listed=False, ways=2, blind=False):
        """Returns the state that the batch has then, and its children."""

        def work(s):
            s.exec("SELECT drover.claim_batch($1, $2, $3, $4, false)", self.id, number, self.revision, listed)
            children = s.exec(self.statements[f"split_{'list' if listed else 'range'}{'_blind' if blind else ''}"], number, ways)
            state = s.exec("SELECT drover.finish_split($1, $2, 'w', 'test') AS state", self.id, number)[0]["state"]
            return state, [(int(c["number"]), c["listed"] == "t", int(c["rows"])) for c in children]

        return self.transaction(work)

    def bury(self, number, listed=False, blind=False, error=None):
        """The dead letter's id as text, or None."""

        def work(s):
            s.exec("SELECT drover.claim_batch($1, $2, $3, $4, false)", self.id, number, self.revision, listed)
            s.exec(self.statements[f"image_{'list' if listed else 'range'}{'_blind' if blind else ''}"])
            return s.exec("SELECT drover.bury_batch($1, $2, 'w', $3::jsonb) AS id", self.id, number,
                          json.dumps(error or {"sqlstate": "22000", "message": "test"}))[0]["id"]

        return self.transaction(work)

    # --- the proof ---

    def verify(self, rows=1000, which="verify"):
        """Sums over all windows: pending, dead, ignored; and the keys that are neither."""
        total, cursor = {"scanned": 0, "pending": 0, "dead": 0, "ignored": 0, "keys": []}, None
        while True:
            row = self.transaction(lambda s: s.exec(self.statements[which], cursor, rows, 1000)[0])
            if row["cursor"] is None:
                return total
            cursor = row["cursor"]
            for name in ("scanned", "pending", "dead", "ignored"):
                total[name] += int(row[name])
            total["keys"] += json.loads(row["keys"] or "[]")

    def everything(self, **kwargs):
        """Scan, run, verify: a migration from its beginning to its end. Rows changed."""
        self.scan(**kwargs)
        changed = self.run_all()
        assert self.verify()["pending"] == 0
        assert self.verify(rows=3)["pending"] == 0
        return changed
