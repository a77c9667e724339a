"""The application: it writes rows of the table that is migrated, all the while, and keeps a journal of what it has done.

Each write and its line in the journal are one transaction, so the journal holds exactly what was committed, also where an answer was lost.
"""

import random
import threading

import psycopg

from chaos.draw import KEYS

TABLES = """
CREATE TABLE t ({columns}, k text GENERATED ALWAYS AS ({k}) STORED, n bigint NOT NULL DEFAULT 0, ok int NOT NULL DEFAULT 1,
                shape int NOT NULL DEFAULT 1, note text, PRIMARY KEY ({key}));
CREATE INDEX ON t (k);
CREATE TABLE origin AS SELECT k FROM t;
-- every change of what is migrated, by whomever
CREATE TABLE changes (k text, drover boolean, was_shape int, by bigint);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO public.changes VALUES (NEW.k, current_setting('application_name') LIKE 'drover %', OLD.shape, NEW.n - OLD.n);
  RETURN NULL; END $$;
CREATE TRIGGER note_change AFTER UPDATE ON t FOR EACH ROW WHEN (OLD.n <> NEW.n OR OLD.shape <> NEW.shape) EXECUTE FUNCTION note_change();
-- what the application did: the row as it left it
CREATE TABLE journal (seq bigserial PRIMARY KEY, k text, deleted boolean, note text, by bigint);
"""

_JOURNAL = "INSERT INTO journal (k, deleted, note, by) SELECT k, {deleted}, note, {by} FROM x"

APP_STEP = 1000  # what the application adds to n; the migration adds 1


def create(database, draw, tablespace=None):
    columns, type_, key_of = KEYS[draw.keys]
    rng = random.Random(f"keys {draw.seed}")
    keys = [key_of(i, rng) for i in range(1, draw.rows + 1)]
    poison = set(draw.poison)
    with database.conn() as conn:
        if tablespace:
            conn.execute(f"SET default_tablespace = {tablespace}")
        conn.execute(TABLES.format(columns=", ".join(f"{c} {type_}" for c in columns), key=", ".join(columns),
                                                      k=" || ',' || ".join(f"{c}::text" for c in columns)))
        conn.execute("SET default_tablespace = ''")
        with conn.cursor().copy(f"COPY t ({', '.join(columns)}, ok) FROM STDIN") as copy:
            for i, key in enumerate(keys, 1):
                copy.write_row((*key, int(i not in poison)))
        conn.execute("INSERT INTO origin SELECT k FROM t; ANALYZE t")
    return keys


class Application(threading.Thread):
    def __init__(self, database, draw, keys):
        super().__init__(name="application", daemon=True)
        self.database, self.draw, self.keys = database, draw, keys
        self.rng = random.Random(f"application {draw.seed}")
        self.columns, _, self.key_of = KEYS[draw.keys]
        self.where = " AND ".join(f"{c} = %s" for c in self.columns)
        self.over = threading.Event()
        self.writes = self.refused = 0
        self.error = None
        self.acts = [self.insert_old, self.insert_new, self.note, self.note, self.add, self.add, self.delete, self.several]
        if draw.way == "pending":
            self.acts.append(self.migrate)

    def run(self):
        conn = None
        while not self.over.wait(0.01):
            try:
                if conn is None or conn.closed:
                    conn = self.database.conn(application_name="application")
                    conn.execute("SET deadlock_timeout = '100ms'; SET statement_timeout = '20s'")
                self.rng.choice(self.acts)(conn)
                self.writes += 1
            except psycopg.errors.ProgrammingError as e:
                self.error = e
                return
            except psycopg.Error:  # a server that is away or full, a deadlock: whatever was meant did not happen, or stands in the journal
                self.refused += 1
                self.over.wait(0.05)
        if conn:
            conn.close()

    def stop(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive() and self.error is None, f"the application: {self.error!r}"

    # --- what it does ---

    def _do(self, conn, change, params, deleted="false", by=0):
        conn.execute(f"WITH x AS ({change} RETURNING k, note) " + _JOURNAL.format(deleted=deleted, by=by), params)

    def _update(self, conn, change, params=(), key=None, more="", **kwargs):
        self._do(conn, f"UPDATE t SET {change} WHERE {self.where}{more}", (*params, *(key or self.rng.choice(self.keys))), **kwargs)

    def _insert(self, conn, shape):
        key = self.new_key()
        holders = ", ".join(["%s"] * len(key))
        self._do(conn, f"INSERT INTO t ({', '.join(self.columns)}, shape, note) VALUES ({holders}, %s, %s)", (*key, shape, self.text()))
        self.keys.append(key)

    def new_key(self):
        """Before, among or after those that are there; never one that was there."""
        if self.draw.keys == "uuid":
            return self.key_of(0, self.rng)
        number = self.writes + self.refused
        if self.draw.keys == "gaps" and self.rng.random() < 0.5:
            return (number * 7919 % self.draw.rows * 7 + 1 + number // self.draw.rows % 6,)
        return self.key_of((self.draw.rows + number + 1) * self.rng.choice([1, -1]), self.rng)

    def text(self):
        return f"note {self.writes + self.refused}"

    def insert_old(self, conn):
        self._insert(conn, 1)

    def insert_new(self, conn):
        self._insert(conn, 2)

    def note(self, conn):
        self._update(conn, "note = %s", (self.text(),))

    def add(self, conn):
        self._update(conn, f"n = n + {APP_STEP}", by=APP_STEP)

    def delete(self, conn):
        key = self.keys.pop(self.rng.randrange(len(self.keys)))
        self._do(conn, f"DELETE FROM t WHERE {self.where}", key, deleted="true")

    def several(self, conn):
        """A transaction in no order, which may meet Drover's head on."""
        with conn.transaction():
            for key in self.rng.sample(self.keys, 4):
                self._update(conn, "note = %s", (self.text(),), key)

    def migrate(self, conn):
        """A version of it that writes the new shape itself."""
        self._update(conn, "shape = 2, note = %s", (self.text(),), more=" AND shape = 1")
