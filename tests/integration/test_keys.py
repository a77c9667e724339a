"""Keys of every kind: each row changes exactly once, in batch and row mode, by `set`, by `backfill`, and by the ledger alone."""

import re

import pytest

from lib.scenario import BY_STEPS, finish

ODD_TEXTS = ["", " ", "  ", "a", "A", "ä", "Ä", "z", "Z", "é", "e", "e\u0301", "ß", "ss", "NULL", "null", "{}", "{a,b}", "{NULL}", '"',
             '""',
             "'", "''", "\\", "\\\\", "a\\b", "\\x41", "a,b", "a b", "\t", "\n", "a\r\nb", "Ω", "中文", "🐄", "%s", "%", "$1", ":batch",
             ":keys",
             "--", "/*", "$$", "a'; DROP TABLE rows;--", "-1", "01", "1", "1e5", "(1,2)", "\u00a0", "co-op", "coop", "CO-OP"]

COLLATIONS = {
    "default": "",
    "C": 'COLLATE "C"',
    "ICU English": 'COLLATE "en-US-x-icu"',
    "ICU case-insensitive": "COLLATE insensitive",
}

TIMES = """SELECT t FROM (VALUES ('-infinity'::timestamptz), ('infinity'), ('4713-01-02 BC'), ('0001-12-31 23:59:59.999999 BC'),
             ('1999-12-31 23:59:59.999999+00'), ('2000-01-01 00:00:00+00')) v(t)
           UNION SELECT '2024-10-27 00:00+00'::timestamptz + g * interval '7 min 0.000001 s' FROM generate_series(1, 200) g"""

# columns, key, rows; {table} PARTITION BY ..., and statements that follow it.
KINDS = {
    "smallint": ("k smallint", "k", "SELECT g FROM generate_series(-32768, 32767, 311) g UNION SELECT 32767"),
    "integer": ("k integer", "k", "SELECT g FROM generate_series(-2147483648, 2147483647, 21474831) g UNION SELECT 2147483647"),
    "bigint": ("k bigint", "k", "SELECT g * 46116860184273879 FROM generate_series(-200, 200) g "
                                "UNION VALUES (-9223372036854775808), (9223372036854775807), (0), (-1), (1)"),
    "dense bigint": ("k bigint", "k", "SELECT generate_series(-100, 150)"),
    "uuid": ("k uuid", "k", "SELECT md5(g::text)::uuid FROM generate_series(1, 250) g UNION VALUES "
                            "(uuid '00000000-0000-0000-0000-000000000000'), ('ffffffff-ffff-ffff-ffff-ffffffffffff')"),
    **{f"text {name}": (f"k text {collation}", "k", "SELECT k FROM odd") for name, collation in COLLATIONS.items()},
    "char": ("k char(9)", "k", "SELECT k FROM (SELECT left(k, 9) AS k FROM odd) s"),
    "timestamptz": ("k timestamptz", "k", TIMES),
    "numeric": ("k numeric", "k", """SELECT k FROM (VALUES (numeric '1.0'), (1.00), (0), (-0.50), ('NaN'), ('Infinity'), ('-Infinity'), (1e100),
                                     (1e-100), (2.000), (10), (9)) v(k) UNION ALL SELECT (g / 7.0)::numeric FROM generate_series(1, 200) g"""),
    "two columns": ("tenant integer, id bigint", "tenant, id",
                    "SELECT g % 7 - 3, (g * 7919) % 100000 - 50000 FROM generate_series(1, 250) g"),
    "text and time": ('k text COLLATE "en-US-x-icu", at timestamptz', "k, at",
                      f"SELECT o.k, t.t FROM (SELECT k FROM odd ORDER BY k LIMIT 20) o, ({TIMES} LIMIT 12) t(t)"),
    "three columns": ('u uuid, k text COLLATE "C", n smallint', "u, k, n",
                      "SELECT md5((g % 5)::text)::uuid, o.k, g - 3 FROM generate_series(1, 6) g, (SELECT k FROM odd LIMIT 40) o"),
    "four columns": ("tenant integer, k text COLLATE insensitive, amount numeric, at timestamptz", "tenant, k, amount, at",
                     "SELECT g % 3 - 1, o.k, (g % 4) / 3.0, timestamptz '2024-01-01' + g * interval '1 s' "
                     "FROM generate_series(1, 6) g, (SELECT k FROM odd LIMIT 40) o"),
    "list partitions": ("region text, id bigint", "region, id",
                        "SELECT (ARRAY['eu', 'us', 'as'])[g % 3 + 1], g * 3 FROM generate_series(1, 250) g",
                        "PARTITION BY LIST (region)", "CREATE TABLE {table}_eu PARTITION OF {table} FOR VALUES IN ('eu');"
                                                      "CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT"),
    "hash partitions": ("id bigint", "id", "SELECT g * g - 500 FROM generate_series(1, 250) g", "PARTITION BY HASH (id)",
                        "CREATE TABLE {table}_0 PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
                        "CREATE TABLE {table}_1 PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER 1)"),
}

WAYS = [f"{mode}_{way}" for mode in ("batch", "row") for way in ("set", "backfill", "ledger")]


def make_tables(pg, columns, key, rows, partition_by="", more=""):
    pg.sql("CREATE COLLATION insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    pg.sql("CREATE TABLE odd (k text)")
    pg.sql("INSERT INTO odd SELECT unnest(%s::text[]) UNION ALL SELECT 'row ' || g FROM generate_series(1, 150) g", (ODD_TEXTS,))
    pg.sql("CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.changes := OLD.changes + 1; RETURN NEW; END $$")
    for table in WAYS:
        pg.sql(f"CREATE TABLE {table} ({columns}, a serial, b integer, changes integer NOT NULL DEFAULT 0, PRIMARY KEY ({key})) "
               f"{partition_by}")
        pg.sql(more.format(table=table) or "SELECT 1")
        pg.sql(f"INSERT INTO {table} ({key}) {rows} ON CONFLICT DO NOTHING")
        if not table.endswith("_set"):  # one whose plan a trigger would change: a single UPDATE that tests and changes at once
            pg.sql(f"CREATE TRIGGER c BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION count_change()")


def migrations(drover, key):
    same_key = " AND ".join(f"t.{column} = b.{column}" for column in key.split(", "))
    for table in WAYS:
        mode, way = table.split("_")
        text = f"-- drover: table {table}\n-- drover: mode {mode}\n-- drover: batch-size 37\n"
        text += {"set": "-- drover: set b = a * 2\n",
                 "ledger": "-- drover: ledger\n-- drover: set b = coalesce(b, 0) + a * 2\n",
                 "backfill": f"-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE {table} t SET b = a * 2 FROM :batch b WHERE "
                             f"{same_key}{BY_STEPS}"}[way]
        yield drover.migration(table, text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_once(pg, drover, kind):
    make_tables(pg, *KINDS[kind])
    finish(drover, *migrations(drover, KINDS[kind][1]), worker=["--concurrency", 3])
    for table in WAYS:
        changes = 0 if table.endswith("_set") else 1
        rows, right = pg.sql(f"SELECT count(*), count(*) FILTER (WHERE b = a * 2 AND changes = {changes}) FROM {table}")[0]
        assert rows >= 175 and right == rows, f"{table}: {right} of {rows} rows; {pg.sql(f'SELECT * FROM {table} WHERE b IS DISTINCT FROM a * 2 OR changes <> {changes} LIMIT 5')}"
    for table in ("batch_set", "row_backfill"):
        drover.run("verify", table)


def test_types_beyond_the_usual(pg, drover):
    pg.sql("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    kinds = {
        "d": ("date", "SELECT date '2024-02-20' + g FROM generate_series(-100, 100) g"),
        "bytes": ("bytea", "SELECT decode(md5(g::text), 'hex') FROM generate_series(1, 200) g UNION SELECT ''"),
        "address": ("inet", "SELECT inet '10.0.0.0' + g * 3 FROM generate_series(1, 200) g"),
        "real": ("double precision", "SELECT g / 3.0::float8 FROM generate_series(-100, 100) g UNION VALUES ('NaN'::float8), ('infinity'), "
                                     "(1e-300)"),
        "moods": ("mood", "SELECT unnest(enum_range(NULL::mood))"),
        "positives": ("positive", "SELECT generate_series(1, 100)"),
        "span": ("interval", "SELECT g * interval '1 mon 3 days 04:05:06.7' FROM generate_series(-50, 50) g"),
    }
    for table, (type_, rows) in kinds.items():
        pg.sql(f'CREATE TABLE "{table}" (k {type_} PRIMARY KEY, a serial, b integer, c integer); INSERT INTO "{table}" (k) {rows}')
    finish(drover, *[drover.migration(f"{mode}_{table}", f'-- drover: table "{table}"\n-- drover: mode {mode}\n-- drover: batch-size 20\n'
                                                        f"-- drover: set {column} = a + 1\n")
                     for table in kinds for mode, column in (("batch", "b"), ("row", "c"))])
    for table in kinds:
        assert pg.value(f'SELECT count(*) FROM "{table}" WHERE b IS DISTINCT FROM a + 1 OR c IS DISTINCT FROM a + 1') == 0, table


def test_a_unique_index_in_the_primary_keys_place(pg, drover):
    pg.sql("""CREATE TABLE t (id bigint PRIMARY KEY, tenant integer NOT NULL, code text NOT NULL, a integer, b integer, c integer);
              CREATE UNIQUE INDEX ON t (tenant DESC, code DESC) INCLUDE (a);
              INSERT INTO t SELECT g, g % 5, 'code ' || g, g FROM generate_series(1, 300) g""")
    finish(drover, drover.migration("batch", "-- drover: table t\n-- drover: key tenant, code\n-- drover: set b = a\n-- drover: batch-size "
                                             "40\n"),
           drover.migration("row", "-- drover: table t\n-- drover: key tenant, code\n-- drover: set c = a\n-- drover: mode row\n"))
    assert pg.value("SELECT count(*) FROM t WHERE b = a AND c = a") == 300
    assert pg.value("SELECT count(*) FROM drover.migrations WHERE key_columns = '{tenant,code}'") == 2


REFUSED = {
    "no key at all": ("CREATE TABLE t (id bigint, a int, b int)", "", "no primary key"),
    "nullable": ("CREATE TABLE t (id bigint UNIQUE, a int, b int)", "id", "null"),
    "not unique": ("CREATE TABLE t (id bigint NOT NULL, a int, b int); CREATE INDEX ON t (id)", "id", "unique"),
    "partial": ("CREATE TABLE t (id bigint NOT NULL, a int, b int); CREATE UNIQUE INDEX ON t (id) WHERE id > 0", "id", "partial"),
    "deferrable": ("CREATE TABLE t (id bigint NOT NULL UNIQUE DEFERRABLE, a int, b int)", "id", "deferrable"),
    "deferrable primary key": ("CREATE TABLE t (id bigint PRIMARY KEY DEFERRABLE, a int, b int)", "", "deferrable"),
    "an expression": ("CREATE TABLE t (id text NOT NULL, a int, b int); CREATE UNIQUE INDEX ON t (lower(id))", "id", "unique"),
    "part of a key": ("CREATE TABLE t (tenant int, id int, a int, b int, PRIMARY KEY (tenant, id))", "id", "unique"),
    "five columns": ("CREATE TABLE t (k1 int, k2 int, k3 int, k4 int, k5 int, a int, b int, PRIMARY KEY (k1, k2, k3, k4, k5))", "",
                     "four|4"),
    "up and down": ("CREATE TABLE t (id int NOT NULL, k int NOT NULL, a int, b int); CREATE UNIQUE INDEX ON t (id, k DESC)", "id, k",
                    "descending"),
    "another collation": ("CREATE TABLE t (id text NOT NULL, a int, b int); CREATE UNIQUE INDEX ON t (id COLLATE \"C\")", "id",
                          "collation"),
    "inheritance parent": ("CREATE TABLE t (id bigint PRIMARY KEY, a int, b int); CREATE TABLE child () INHERITS (t)", "", "inherit"),
    "view": ("CREATE TABLE base (id bigint PRIMARY KEY, a int, b int); CREATE VIEW t AS SELECT * FROM base", "", "view"),
    "materialized view": ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS id, 2 AS a, 3 AS b", "id", "materialized view"),
    "foreign table": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE t (id bigint, a int, b "
                      "int) SERVER s",
                      "", "foreign"),
}


def assert_refused(pg, drover, key, reason):
    key = f"-- drover: key {key}\n" if key else ""
    drover.run("init")
    result = drover.run("produce", drover.migration("m", f"-- drover: table t\n{key}-- drover: set b = a\n"), rc=1)
    assert re.search(reason, result.err, re.IGNORECASE), result
    assert pg.value("SELECT count(*) FROM drover.migrations") == 0


@pytest.mark.parametrize("kind", REFUSED)
def test_without_a_usable_key_it_is_refused(pg, drover, kind):
    table, key, reason = REFUSED[kind]
    pg.sql(table)
    assert_refused(pg, drover, key, reason)


def test_an_invalid_index_is_no_key(pg, drover):
    pg.sql("CREATE TABLE t (id bigint NOT NULL, a int, b int); INSERT INTO t VALUES (1), (1)")
    with pytest.raises(Exception, match="could not create unique index"):
        pg.sql("CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id)")
    pg.sql("DELETE FROM t")
    assert_refused(pg, drover, "id", "valid")
