"""The SQL that migrations become, on a real server, step by step: every kind of key, name, script and statement."""

import json
import random
import re
import threading

import pytest

from lib.plan import Plan, Session, SqlError, array, register
from lib.scenario import BY_STEPS


@pytest.fixture
def plan(pg, tmp_path):
    """plan(text, ...) registers a file and gives its Plan."""
    made = []

    def make(text, name="m", *options):
        made.append(Plan(pg, register(pg, tmp_path, name, text, *options)))
        return made[-1]

    yield make
    for p in made:
        p.s.close()


# type of the key, SQL for n distinct values from generate_series g
KEYS = {
    "smallint": ("smallint", "(g * 7 - 2000)::smallint"),
    "integer": ("integer", "g * 3 - 500"),
    "bigint": ("bigint", "g * 9000000000 - 4000000000000"),
    "bigint at its ends": ("bigint", "CASE g WHEN 1 THEN -9223372036854775808 WHEN 2 THEN 9223372036854775807 ELSE g END"),
    "uuid": ("uuid", "md5(g::text)::uuid"),
    "text": ("text", "chr(33 + g % 90) || g || E' \"{}\\\\,'''"),
    "text that looks like NULL": ("text", "CASE g WHEN 1 THEN 'NULL' WHEN 2 THEN '' WHEN 3 THEN ' ' ELSE 'null' || g END"),
    "text in ICU's German": ('text COLLATE "de-x-icu"', "(ARRAY['a','B','ä','Z','-','é'])[1 + g % 6] || g"),
    "text in C": ('text COLLATE "C"', "(ARRAY['a','B','ä','Z','-','é'])[1 + g % 6] || g"),
    "text without regard to case": ("text COLLATE nocase", "(ARRAY['a','B','ä','Z'])[1 + g % 4] || g"),
    "varchar": ("varchar(20)", "'v' || g"),
    "char": ("char(10)", "'c' || g"),
    "timestamptz": ("timestamptz", "timestamptz '2024-10-27 00:00+00' + g * interval '7.123457 minutes'"),
    "timestamptz without end": ("timestamptz", "CASE g WHEN 1 THEN '-infinity' WHEN 2 THEN 'infinity' WHEN 3 THEN '0044-03-15 BC' ELSE "
                                               "timestamptz '1850-01-01' + g * interval '1 day' END"),
    "timestamp": ("timestamp(3)", "timestamp '2024-01-01' + g * interval '1.5 s'"),
    "date": ("date", "date '2024-01-01' - g"),
    "numeric": ("numeric", "g * 1.10 - 100"),
    "numeric with a scale": ("numeric(12,4)", "g / 3.0"),
    "double precision": ("double precision", "g / 3.0::double precision"),
    "bytea": ("bytea", "decode(md5(g::text), 'hex')"),
    "inet": ("inet", "'10.0.0.0'::inet + g"),
    "boolean and integer": ("boolean", "g % 2 = 0"),
    "enum and integer": ("mood", "(ARRAY['sad','ok','happy'])[1 + g % 3]::mood"),
    "domain": ("positive", "g"),
    "interval": ("interval", "g * interval '1 hour 3 s'"),
    "name": ("name", "'n' || g"),
    "bit": ("bit(12)", "g::bit(12)"),
}


def prepare_types(pg):
    pg.sql("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
           "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS integer CHECK (value > 0)")


def table_with(pg, kind, rows, a="g", columns="a integer"):
    """t with this kind of key: k, or k and n; n counts its rows from 1 as g does in the SQL of a."""
    prepare_types(pg)
    type_, value = KEYS[kind]
    key = "k, n" if kind.endswith("and integer") else "k"
    pg.sql(f"CREATE TABLE t (k {type_} NOT NULL, n integer NOT NULL, {columns}, PRIMARY KEY ({key}));"
           f"INSERT INTO t SELECT {value}, g, {a} FROM generate_series(1, {rows}) g")


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key(pg, plan, kind):
    table_with(pg, kind, 157, columns="a integer, b integer")
    p = plan("-- drover: table t\n-- drover: set b = a * 2\n")
    assert p.row_local
    assert p.everything(rows=20, batch=7) == 157
    assert pg.value("SELECT count(*) FROM t WHERE b = a * 2") == 157
    # Redelivered batches are refused.
    number = pg.value("SELECT min(number) FROM drover.batches")
    with pytest.raises(SqlError, match="DR001"):
        p.batch(number)


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_in_lists_rows_and_replays(pg, plan, kind):
    table_with(pg, kind, 60, columns="a integer NOT NULL")
    # Not idempotent: whatever is done twice shows. DateStyle must not matter.
    pg.sql(f"ALTER DATABASE \"{pg.name}\" SET DateStyle = 'SQL, DMY'")
    pg.sql(f"ALTER DATABASE \"{pg.name}\" SET TimeZone = 'Europe/Berlin'")
    p = plan("-- drover: table t\n-- drover: set a = a * 10\n-- drover: ledger\n-- drover: mode row\n")
    windows = p.scan(rows=25, batch=10)
    for w in windows:
        keys = [pg.value("SELECT %s::text[]", (w[f"keys{i + 1}"],)) for i in range(len(p.key))]
        numbers, counts = (pg.value("SELECT %s::bigint[]", (w[name],)) for name in ("numbers", "counts"))
        at = [n for n, count in zip(numbers, counts) for _ in range(count)]
        assert len(at) == len(keys[0]) == int(w["found"])
        half = len(at) // 2
        assert p.rows(at[:half], [k[:half] for k in keys]) == half
        assert p.rows(at[:half], [k[:half] for k in keys]) == 0  # delivered twice
        assert p.missing(numbers[-1])[0] == keys[0][max(half, len(at) - counts[-1]):]
        assert p.rows(at, keys) == len(at) - half
        assert p.missing(numbers[-1])[0] == []
    assert len(p.close_windows()) == len(p.batches("closed")) > 5
    assert pg.value("SELECT count(*) FROM t WHERE a = n * 10") == 60


@pytest.mark.parametrize("kind", KEYS)
def test_where_few_rows_are_pending_batches_are_lists_of_them(pg, plan, kind):
    table_with(pg, kind, 157, a="CASE WHEN g % 50 > 0 THEN g END")
    p = plan("-- drover: table t\n-- drover: set a = n\n")
    (window,) = p.scan(batch=2)
    assert (window["scanned"], window["found"], window["counts"], window["listed"]) == ("157", "3", "{2,1}", "{t,t}")
    pg.sql("UPDATE t SET a = NULL WHERE n <= 50")  # the one that was found is among them; the others are the next sweep's
    number = p.batches()[0][0]
    assert p.split(number, listed=True, ways=2)[1] == [(number + 2, True, 1), (number + 3, True, 1)]
    assert p.run_all() == 3
    assert pg.value("SELECT count(*) FROM t WHERE a IS NULL") == 49
    # Where many are, they are ranges.
    assert p.window(None, which="sweep")["listed"] == "{f,f,f,f,f}" and p.run_all() == 49


@pytest.mark.parametrize("kind", KEYS)
def test_what_one_pass_gathers_is_what_windows_find(pg, plan, kind):
    table_with(pg, kind, 157, a="CASE WHEN g % 10 > 0 THEN g END")
    text = "-- drover: table t\n-- drover: set a = n\n-- drover: where n > 20\n"
    windows, p = plan(text + "-- drover: batch-size 7\n", "windows"), plan(text)
    (scanned,) = windows.scan(batch=3)
    kept = "SELECT first_key, last_key, rows, state FROM drover.batches WHERE migration_id = %s ORDER BY number"
    found, _, made = p.gather(batch=3)
    assert found == int(scanned["found"]) == 13 and made["counts"] == "{3,3,3,3,1}" and made["listed"] == "{t,t,t,t,t}"
    assert pg.sql(kept, (p.id,)) == pg.sql(kept, (windows.id,))
    # From a key on: what comes after it.
    first = pg.value("SELECT last_key::text FROM drover.batches WHERE migration_id = %s AND number = %s", (p.id, p.batches()[0][0]))
    assert p.gather(first, batch=100)[2]["counts"] == "{10}"
    assert p.run_all() == 13
    assert pg.value("SELECT count(*) FROM t WHERE a IS NULL AND n > 20") == 0
    assert p.gather()[0] == 0


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_gather_uses_an_index_of_what_is_pending(pg, plan, has_failed):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, kind text, a int, b int); INSERT INTO t SELECT g, 'k', g, CASE WHEN g > 10 THEN 1 END FROM generate_series(1, 9000) g;"
           "CREATE INDEX pending_rows ON t (id) WHERE b IS NULL AND kind = 'k'; ANALYZE t")
    p = plan("-- drover: table t\n-- drover: set b = a\n-- drover: where kind = 'k'\n")
    p.example = ["{}"] * 3
    for name in ("gather", "scan"):
        params = [None, has_failed, 1000, 100_000] if name == "gather" else [None, 1000, 1000, "queued", None, has_failed]
        assert ("pending_rows" in explain(p, p.statements[name], *params)) == (name == "gather" and not has_failed)
    found, keys, _ = p.gather()
    assert (found, keys) == (10, ["{1,2,3,4,5,6,7,8,9,10}"])


def test_a_gather_of_too_many_keys_or_bytes_says_so(pg, plan):
    pg.sql("CREATE TABLE t (id text PRIMARY KEY, a int, b int); INSERT INTO t SELECT repeat('k', 90) || g, g FROM generate_series(11, 60) g")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    literal = 50 * len("{" + "k" * 90 + "12" + "}")
    for keys, size, found in ((50, literal, True), (49, literal, False), (50, literal - 1, False), (0, literal, False), (50, 0, False)):
        assert (p.gather(keys=keys, size=size)[1] is not None) == found, (keys, size)


@pytest.mark.parametrize("kind", KEYS)
def test_where_nearly_all_rows_are_pending_batches_are_cut_by_their_keys(pg, plan, kind):
    table_with(pg, kind, 157, a="CASE WHEN g % 10 = 0 THEN g END")
    p = plan("-- drover: table t\n-- drover: set a = n\n")
    cursor = p.window(None, rows=20, batch=7)["cursor"]
    for found in (49, 49, 35, 0):  # whole batches alone: four rows are left
        window = p.window_of_keys(cursor, rows=50, batch=7)
        batches = found // 7
        assert window["scanned"] == window["found"] == str(found)
        assert window["counts"] == (f"{{{','.join('7' * batches)}}}" if found else None)
        assert window["listed"] == (f"{{{','.join('f' * batches)}}}" if found else None)
        cursor = window["cursor"]
    assert p.window(cursor, batch=7)["scanned"] == "4"
    assert p.run_all() == 157 - 15
    assert pg.value("SELECT count(*) FROM t WHERE a IS NULL OR a <> n") == 0


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_in_runs(pg, plan, kind):
    table_with(pg, kind, 90, a="CASE WHEN g % 3 = 0 THEN g END")
    p = plan("-- drover: table t\n-- drover: set a = n * 10\n-- drover: pending a IS NULL\n-- drover: mode row\n")
    for w in p.scan(rows=70, batch=20):
        columns = [pg.value("SELECT %s::text[]", (w[f"keys{i + 1}"],)) for i in range(len(p.key))]
        numbers, counts = (pg.value("SELECT %s::bigint[]", (w[name],)) for name in ("numbers", "counts"))
        keys, at = list(zip(*columns)), 0
        for number, count in zip(numbers, counts):
            rows, at = keys[at:at + count], at + count
            half = (count + 1) // 2
            assert p.run(number, rows[0], rows[half - 1]) == half
            assert p.run(number, rows[0], rows[-1]) == count - half  # those done are passed over
    assert pg.sql("SELECT count(*), sum((a = n * 10)::int), sum((a = n)::int) FROM t") == [(90, 60, 30)]


def test_a_run_keeps_to_its_window_and_off_dead_letters(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT g FROM generate_series(1, 40) g")
    p = plan("-- drover: table t\n-- drover: set a = id\n-- drover: mode row\n")
    p.scan(batch=10)
    first, second, _, _ = [number for number, _, _ in p.batches("open")]
    for key, state in ((13, "dead"), (14, "queued"), (15, "retrying"), (16, "ignored"), (17, "done")):
        pg.sql("INSERT INTO drover.failed_jobs (migration_id, batch, root, key, key_hash, state) "
               "VALUES (%s, %s, %s, ARRAY[%s], drover.key_hash(ARRAY[%s]), %s)", (p.id, second, second, str(key), str(key), state))
    assert p.run(first, ["1"], ["1000000"]) == 10  # whatever an entry in Redis says
    assert p.run(second, ["11"], ["20"]) == 6
    assert pg.sql("SELECT id FROM t WHERE id <= 20 AND a IS NULL ORDER BY 1") == [(13,), (14,), (15,), (16,)]
    for window, last in ((first, ["2", "3"]), (1 << 40, ["2"])):
        with pytest.raises(SqlError, match="DR004"):
            p.run(window, ["1"], last)
    assert pg.value("SELECT count(*) FROM t WHERE a IS NOT NULL") == 16


def test_row_jobs_of_a_ledger_only_migration_take_time_in_proportion(pg, plan):
    pg.sql("CREATE TABLE t (id uuid PRIMARY KEY, v int NOT NULL); INSERT INTO t SELECT md5(g::text)::uuid, 1 FROM generate_series(1, 20000) g")
    p = plan("-- drover: table t\n-- drover: set v = v * 10\n-- drover: ledger\n-- drover: mode row\n")
    window = p.window(None, rows=5000, batch=5000)
    number, keys = int(window["numbers"].strip("{}")), pg.value("SELECT %s::text[]", (window["keys1"],))
    p.s.exec("SET statement_timeout = '20s'")  # 5,000 times 5,000 comparisons take minutes
    assert p.rows([number] * 5000, [keys]) == 5000
    assert p.missing(number)[0] == []
    assert p.close_windows() == [number]


def test_composite_keys_of_up_to_four_columns(pg, plan):
    pg.sql("CREATE TABLE t (a text, b bigint, c uuid, d timestamptz, v integer, w integer, PRIMARY KEY (a, b, c, d))")
    pg.sql("INSERT INTO t SELECT chr(65 + g % 3), g % 5, md5((g % 7)::text)::uuid, timestamptz '2024-01-01' + g * interval '1 h', g "
           "FROM generate_series(1, 300) g")
    p = plan("-- drover: table t\n-- drover: set w = v + 1\n")
    assert p.everything(rows=40, batch=9) == 300
    pg.sql("CREATE TABLE u (a text NOT NULL, b int NOT NULL, v int, w int)")
    pg.sql("CREATE UNIQUE INDEX ON u (b DESC, a DESC)")
    pg.sql("INSERT INTO u SELECT 'k' || g % 10, g, g FROM generate_series(1, 100) g")
    p = plan("-- drover: table u\n-- drover: key b, a\n-- drover: set w = v\n", "u")
    assert p.everything(rows=12, batch=5) == 100


def test_partitioned_tables(pg, plan):
    pg.sql("CREATE TABLE t (id bigint, at date, v int, w int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
    pg.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');"
           "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY HASH (id);"
           "CREATE TABLE t2a PARTITION OF t2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
           "CREATE TABLE t2b PARTITION OF t2 FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    pg.sql("INSERT INTO t SELECT g, date '2024-01-01' + g % 59, g FROM generate_series(1, 500) g")
    p = plan("-- drover: table t\n-- drover: set w = v\n")
    assert p.everything(rows=60, batch=25) == 500
    q = plan("-- drover: table t\n-- drover: pending w < 0\n-- drover: backfill\nUPDATE t SET w = -w FROM :batch b WHERE t.id = b.id AND t.at = b.at" + BY_STEPS,
             "general")
    pg.sql("UPDATE t SET w = -w")
    assert q.everything(rows=60, batch=25) == 500
    assert q.pg.value("SELECT count(*) FROM t WHERE w = v") == 500


NAMES = ['Mixed', 'with space', 'quo"te', "apos'trophe", "select", "ünïcode", "a.b", "{table}", "%s", "--", "$1", "k1", "hit", "n", "b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["set", "general", "ledger"])
def test_names_of_any_kind(pg, plan, name, form):
    q = '"' + name.replace('"', '""') + '"'
    other = '"' + name.replace('"', '""') + ' 2"'
    pg.sql(f"CREATE SCHEMA {q}; CREATE TABLE {q}.{q} ({q} integer, {other} integer, x integer, PRIMARY KEY ({q}, {other}))")
    pg.sql(f"INSERT INTO {q}.{q} SELECT g % 7, g FROM generate_series(1, 50) g".replace("%", "%%"), ())
    text = f"-- drover: table {q}.{q}\n-- drover: key {q}, {other}\n"
    if form == "set":
        text += f"-- drover: set x = {q} + {other}\n"
    elif form == "general":
        text += (f"-- drover: pending x IS NULL\n-- drover: backfill\nUPDATE {q}.{q} t SET x = b.{q} + b.{other} FROM :batch b "
                 f"WHERE t.{q} = b.{q} AND t.{other} = b.{other}{BY_STEPS}")
    else:
        text += f"-- drover: set x = {q} + {other}\n-- drover: ledger\n"
    p = plan(text)
    p.scan(rows=20, batch=6)
    assert p.run_all() == 50
    assert pg.value(f"SELECT count(*) FROM {q}.{q} WHERE x = {q} + {other}") == 50


# --- what is done to the rows ---


def test_the_application_is_not_overwritten(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int, c int)")
    pg.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 20) g")
    p = plan("-- drover: table t\n-- drover: set b = a + 1\n-- drover: set c = a + 2\n")
    p.scan()
    pg.sql("UPDATE t SET b = 1000 WHERE id = 3; UPDATE t SET b = 1001, c = 1002 WHERE id = 4")
    assert p.run_all() == 19
    assert pg.sql("SELECT b, c FROM t WHERE id IN (3, 4, 5) ORDER BY id") == [(1000, 5), (1001, 1002), (6, 7)]


def test_rows_whose_value_would_be_null_are_not_pending(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    pg.sql("INSERT INTO t SELECT g, nullif(g % 4, 0) FROM generate_series(1, 100) g")
    assert plan("-- drover: table t\n-- drover: set b = a\n").everything() == 75


# Assignments of a section that is one UPDATE of the table x by its key; y is the batch.
PLAIN = [
    "b = x.a + 1",
    "b = a, \"c d\" = 'x.a, y.id FROM :batch' -- , b = 2\n, e = jsonb_build_object('x', x.e, 'k', x.k) /* WHERE */",
    "b = CASE WHEN x.a % 3 = 0 THEN x.id ELSE X . \"k\" END, e = jsonb_set(x.e, '{x}', (x.\"c d\" IS NULL)::text::jsonb)",
    "f = x.f || ARRAY[x.a, x.id]::int[], b = x.f[1] + (x.r).p, at = CASE WHEN now() > x.at THEN x.at + interval '1 day' END",
    "b = '7', \"c d\" = U&'d!0061t' UESCAPE '!' || coalesce(x.\"c d\", 'x') || $$ x.a $$ || E'\\'x.a, '",
    "b = (x.a), a = NULL, e = NULL, \"c d\" = concat(x.r, x.at IS NULL, (x.a, x.k))",
]


@pytest.mark.parametrize("assignments", PLAIN)
def test_a_section_that_amounts_to_a_set_does_what_it_says(pg, plan, assignments):
    """As one statement, step by step, row by row, and in plain SQL: the same table."""
    pg.sql("CREATE TYPE pair AS (p int, q text)")
    names = ["plain", "steps", "rows", "sql"]
    for name in names:
        pg.sql(f"""CREATE TABLE {name} (id int, k int, a int, b int, "c d" text, e jsonb, f int[], r pair, at timestamptz, PRIMARY KEY (k, id));
                   INSERT INTO {name} SELECT g, g %% 7, g, CASE WHEN g %% 5 = 0 THEN 5 END, nullif('c' || g %% 3, 'c1'), '{{"y": [1]}}', ARRAY[g, 2], ROW(g, 'q')::pair,
                                             timestamptz '2024-01-01 12:00+0' + g * interval '1 hour' FROM generate_series(1, 90) g""", ())

    def text(table, mode, end):
        return (f"-- drover: table {table}\n-- drover: mode {mode}\n-- drover: pending b IS NULL\n-- drover: backfill\n"
                f"UPDATE public.{table} AS x SET {assignments} FROM :batch y WHERE x.id = y.id AND y.k = x.k{end}")

    plans = [plan(text(*variant), variant[0]) for variant in (("plain", "batch", ""), ("steps", "batch", BY_STEPS), ("rows", "row", ""))]
    assert [p.roles("range")[0] for p in plans] == ["apply", "lock", "apply"]
    plans[0].everything(rows=40, batch=15)
    plans[1].everything(rows=40, batch=15)
    plans[2].scan(rows=40)
    for number, *_ in plans[2].batches("open"):
        keys = plans[2].missing(number)
        plans[2].rows([number] * len(keys[0]), keys)
    pg.sql(f"UPDATE sql AS x SET {assignments} FROM (SELECT k, id FROM sql) AS y WHERE x.id = y.id AND x.k = y.k AND x.b IS NULL")
    tables = [pg.sql(f"SELECT {name}::text FROM {name} ORDER BY k, id") for name in names]
    assert len(tables[3]) == 90 and all(table == tables[3] for table in tables)


def trigger(when, body, each="FOR EACH ROW"):
    return f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body} END'; CREATE TRIGGER f {when} {each} EXECUTE FUNCTION f();"


# SQL on a table t (id, a, b), partitioned twice over, and whether what an UPDATE of it returns is all that there is to know.
BELIEVED = {
    "no triggers": ("", True),
    "before, returns the row": (trigger("BEFORE UPDATE ON t", "NEW.a := 7; RETURN NEW;"), True),
    "before, may leave it out": (trigger("BEFORE UPDATE ON t", "IF NEW.a = 7 THEN return\n null; END IF; RETURN NEW;"), False),
    "before, in C": ("CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", False),
    "before, of statements": (trigger("BEFORE UPDATE ON t", "RETURN NULL;", each=""), True),
    "after": (trigger("AFTER UPDATE ON t", "RETURN NEW;"), False),
    "after an insert": (trigger("AFTER INSERT ON t", "RETURN NEW;"), True),
    "after, of a partition's partition": (trigger("AFTER UPDATE ON t11", "RETURN NEW;"), False),
    "switched off": (trigger("AFTER UPDATE ON t", "RETURN NEW;") + "ALTER TABLE t DISABLE TRIGGER f", True),
    "a rule": ("CREATE TABLE log (id int); CREATE RULE r AS ON UPDATE TO t DO ALSO INSERT INTO log VALUES (old.id)", False),
}


@pytest.mark.parametrize("form", ["set", "section"])
@pytest.mark.parametrize("kind", BELIEVED)
def test_triggers_and_rules_have_rows_looked_at_again(pg, plan, kind, form):
    sql, apply = BELIEVED[kind]
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT PARTITION BY RANGE (id);"
           "CREATE TABLE t11 PARTITION OF t1 DEFAULT; INSERT INTO t SELECT g FROM generate_series(1, 20) g")
    pg.sql(sql)
    work = "-- drover: set b = 1\n" if form == "set" else "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = 1 FROM :batch x WHERE t.id = x.id;\n"
    p = plan("-- drover: table t\n" + work)
    assert p.roles("range") == (["apply"] if apply else ["lock", "transform", "check"])
    assert p.everything() == 20


def test_a_table_that_the_section_names_without_its_schema_may_be_another_one(pg, plan):
    pg.sql("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, b int); CREATE TABLE s.u (LIKE s.t INCLUDING ALL); CREATE TABLE t (LIKE s.t INCLUDING ALL);"
           "INSERT INTO s.t SELECT g FROM generate_series(1, 5) g; INSERT INTO t SELECT g FROM generate_series(1, 9) g")
    section = "-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE {0} SET b = 1 FROM :batch y WHERE {0}.id = y.id;\n"
    for name, table, roles in (("other", "s.t", ["lock", "transform", "check"]), ("same", "t", ["apply"])):
        p = plan(f"-- drover: table {table}\n" + section.format("t"), name)
        assert p.roles("range") == roles
    pg.sql(f'ALTER DATABASE "{pg.name}" SET search_path = s')
    assert plan("-- drover: table s.u\n" + section.format("u"), "path").roles("range") == ["apply"]


def test_where_and_pending(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, kind text, v jsonb)")
    pg.sql("INSERT INTO t SELECT g, 'k' || g % 2, '{}' FROM generate_series(1, 100) g")
    p = plan("-- drover: table t\n-- drover: set v = jsonb_set(v, '{x}', '1') -- one\n-- drover: pending v->>'x' IS NULL -- not yet\n"
             "-- drover: where kind = 'k1' -- these\n")
    assert p.row_local and p.everything() == 50
    assert pg.value("SELECT count(*) FROM t WHERE v->>'x' = '1'") == 50


def test_what_does_not_converge_is_rolled_back(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL)")
    pg.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 5) g")
    p = plan("-- drover: table t\n-- drover: set v = v + 1\n-- drover: pending v < 4\n")
    p.scan()
    with pytest.raises(SqlError, match=r"DR005.*\{1\}"):
        p.run_all()
    assert pg.value("SELECT sum(v) FROM t") == 15


@pytest.mark.parametrize("step", [1, 1000], ids=["close together", "far apart"])
def test_the_general_form_sees_the_one_row_that_does_not_converge_and_none_that_it_did_not_change(pg, plan, step):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int NOT NULL)")
    pg.sql("INSERT INTO t SELECT g * %s, 3 FROM generate_series(1, 30) g WHERE g <> 20", (step,))
    p = plan("-- drover: table t\n-- drover: pending v < 4\n-- drover: backfill\n"
             "UPDATE t SET v = v + 1 FROM :batch b WHERE t.id = b.id" + BY_STEPS)
    p.scan(batch=30)
    number = p.batches()[0][0]
    s = p.begin()
    s.exec("SELECT drover.claim_batch($1, $2, $3, false, false)", p.id, number, p.revision)
    for part in p.scripts["range"]:
        if part["role"] == "check":
            pg.sql("INSERT INTO t VALUES (20 * %s, 3)", (step,))  # the application's, in the middle of the batch
        s.exec(part["sql"])
    assert s.exec("SELECT current_setting('drover.left') AS left, current_setting('drover.changed') AS changed") == [
        {"left": "", "changed": "29"}]
    s.exec("ROLLBACK")
    pg.sql("UPDATE t SET v = 1 WHERE id = 17 * %s", (step,))
    with pytest.raises(SqlError, match=rf"DR005.*\{{{17 * step}\}}"):
        p.batch(number)


# Keys, how many rows a slice has, in pieces of how many; and where its pieces begin and end and what is left begins, if keys alone tell that.
SLICES = {
    "each number": ("g", 30, 10, ["1-10", "11-20", "21-30"], 31),
    "without pauses": ("g", 30, 0, ["1-30"], 31),
    "more than there is": ("g", 150, 30, ["1-30", "31-60", "61-90", "91-100"], None),
    "to the end": ("g", 100, 50, ["1-50", "51-100"], None),
    "every other number": ("2 * g", 30, 10, ["2-21", "22-41", "42-61"], 62),
    "the last numbers there are": ("9223372036854775707 + g", 120, 60, ["9223372036854775708-9223372036854775767", "9223372036854775768-9223372036854775807"], None),
    "the first ones": ("-9223372036854775809 + g::numeric", 30, 0, ["-9223372036854775808--9223372036854775779"], -9223372036854775778),
    "every third number": ("3 * g", 30, 10, None, None),
    "two heaps": ("g + g / 51 * 1000", 30, 10, None, None),
}


@pytest.mark.parametrize("kind", SLICES)
def test_a_slice_of_numbers_that_lie_close_together_is_cut_by_keys(pg, plan, kind):
    key, rows, piece, pieces, rest = SLICES[kind]
    pg.sql(f"CREATE TABLE t (id bigint PRIMARY KEY, v int); INSERT INTO t SELECT {key} FROM generate_series(1, 100) g")
    p = plan("-- drover: table t\n-- drover: set v = 1\n")
    p.scan(batch=100)
    number = p.batches()[0][0]
    s = p.begin()
    s.exec("SELECT drover.claim_batch($1, $2, $3, false, false)", p.id, number, p.revision)
    s.exec("SELECT drover.take_slice($1, $2, $3, $4, true)", p.id, number, rows, piece)
    ends = ("piece_starts", "piece_ends") if piece else ("first", "last")
    look = "SELECT " + ", ".join(f"current_setting('drover.{name}', true) AS {name}" for name in ("slice_rows", "next", *ends))
    taken = s.exec(look)[0]
    s.exec(p.statements["pieces_range" if piece else "slice_range"])
    found = s.exec(look)[0]
    if pieces is None:
        assert taken["slice_rows"] == str(rows) and found["next"] == "{" + str(pg.sql("SELECT id FROM t ORDER BY id")[rows][0]) + "}"
    else:
        assert found == taken, "it is not looked for once more"
        keys = [re.findall(r"-?\d+", taken[name]) for name in ends]
        assert ["-".join(pair) for pair in zip(*keys)] == pieces
        assert (taken["slice_rows"], taken["next"]) == ("", f"{{{rest}}}" if rest else "")
    s.exec("ROLLBACK")


NUMBERS = {
    "all": ("bigint", "SELECT g FROM generate_series(1, 80) g", [10] * 8),
    "below zero": ("int", "SELECT g FROM generate_series(-60, 19) g", [10] * 8),
    "the ends of the type": ("smallint", "SELECT v FROM generate_series(0, 39) g, unnest(ARRAY[-32768 + g, 32767 - g]) v", [20, 0, 0, 20, 20, 0, 0, 20]),
    "the ends of the largest": ("bigint", "SELECT v FROM generate_series(0, 39) g, unnest(ARRAY[-9223372036854775808 + g, 9223372036854775807 - g]) v",
                                [20, 0, 0, 20, 20, 0, 0, 20]),
    "odd ones alone": ("int", "SELECT g * 2 + 1 FROM generate_series(1, 80) g", [0, 0, 0, 0, 20, 20, 20, 20]),
    "even ones alone": ("int", "SELECT g * 2 FROM generate_series(1, 80) g", [20, 20, 20, 20]),
    "most of them at one end": ("int", "SELECT CASE WHEN g < 80 THEN g ELSE 100000 END FROM generate_series(1, 80) g", [39, 0, 0, 1, 40]),
    "few": ("int", "SELECT g FROM generate_series(1, 20) g", [5, 5, 5, 5]),
    "no more than a transaction should have": ("int", "SELECT g FROM generate_series(1, 10) g", [10]),
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_a_large_range_is_done_by_turns_the_even_keys_first(pg, plan, numbers):
    kind, rows, turns = NUMBERS[numbers]
    pg.sql(f"CREATE TABLE t (id {kind} PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t {rows}")
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    assert p.turns_pay
    p.scan(batch=100)
    (number, _, count), = p.batches()
    assert p.turns_of(number, 10) == turns
    assert pg.sql("SELECT count(*), min(n), max(n) FROM t") == [(count, 1, 1)]
    assert pg.sql("SELECT state, rows_changed, rows_skipped FROM drover.batches") == [("done", count, 0)]
    assert pg.sql("SELECT sum(rows_changed)::int, sum(rows_skipped)::int, sum(jobs)::int FROM drover.lane_counts") == [(count, 0, 1)]


def test_turns_of_a_batch_that_others_went_on_with_lose_nothing(pg, plan):
    """Whoever lost a batch and comes back may have any turn next, of any size; so may the rows have changed that the scan found."""
    rng = random.Random(5)
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    for _ in range(100):
        pg.sql("TRUNCATE t; DELETE FROM drover.batches; INSERT INTO t SELECT DISTINCT (random() * 300)::int FROM generate_series(1, 200)")
        p.scan(batch=1000)
        (number, _, count), = p.batches()
        pg.sql("UPDATE t SET n = 5 WHERE id %% 7 = %s", (rng.randrange(14),))
        written, more = pg.value("SELECT count(*) FROM t WHERE n = 5"), True
        while more:
            changed, more = p.turn(number, rng.choice([0, 0, 1, 2, 3, 4, 5, 6, 7, 9]), rng.choice([1, 10, 25, 60]))
        assert pg.sql("SELECT count(*), count(*) FILTER (WHERE n = 5) FROM t WHERE n IN (1, 5)") == [(count, written)]
        assert pg.sql("SELECT rows_changed, rows_skipped FROM drover.batches") == [(count - written, written)]


def test_large_ranges_are_cut_where_keys_lie_close_together(pg, plan):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);"
           "INSERT INTO t SELECT g + (g > 95)::int * 1000000 FROM generate_series(-20, 179) g")
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    window = p.window_of_keys("{-21}", rows=170, batch=10, together=4)
    assert pg.sql("SELECT first_key[1]::bigint, last_key[1]::bigint, rows FROM drover.batches ORDER BY number") == [
        (-20, 19, 40), (20, 59, 40), (60, 69, 10), (70, 79, 10), (80, 89, 10), (90, 1000099, 10), (1000100, 1000139, 40),
        (1000140, 1000149, 10)]  # the jump's, and what is too few for a large one
    assert (window["cursor"], window["found"]) == ("{1000149}", "170")


@pytest.mark.parametrize("type_", ["smallint", "int", "bigint"])
def test_numbers_nearly_without_gaps_are_not_counted(pg, plan, type_):
    pg.sql(f"CREATE TABLE t (id {type_} PRIMARY KEY, n int NOT NULL DEFAULT 0);"
           "INSERT INTO t SELECT g FROM generate_series(-20, 179) g WHERE g NOT IN (5, 30, 49, 101, 179)")
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    steps = [("{-21}", True, [(-20, 19, 40), (20, 29, 10)], "{29}"), ("{29}", True, [], "{29}"), ("{29}", False, [(31, 40, 10)], "{40}"),
             ("{40}", True, [(41, 80, 40), (81, 90, 10), (91, 100, 10)], "{100}")]  # 49 counts, and is not there
    for cursor, tight, batches, end in steps:
        window = p.window_of_keys(cursor, rows=1000 if tight else 10, batch=10, together=4 if tight else 1, tight=tight)
        made = pg.sql("SELECT first_key[1]::int, last_key[1]::int, rows FROM drover.batches WHERE last_key[1]::int > %s ORDER BY number",
                      (int(cursor[1:-1]),))
        assert (made, window["cursor"]) == (batches, end)
        assert window["found"] == window["scanned"] == str(sum(rows for _, _, rows in batches))
    pg.sql("DELETE FROM t WHERE id > 100")
    assert p.run_all() == 118
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 118)]


SHAPES = {
    "dense": lambda rng: range(rng.randint(-500, 500), 1500),
    "holes": lambda rng: [i for i in range(-1000, 1000) if rng.random() > 0.01],
    "tens": lambda rng: [*range(-300, 300), *range(300, 9000, 10)],
    "blocks": lambda rng: {b * rng.choice([100, 130, 1000]) + i for b in range(-9, 20) for i in range(rng.randint(1, 100))},
    "up to the last number": lambda rng: range(2**15 - 1000, 2**15),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_however_the_scan_goes_each_row_is_in_one_batch(pg, plan, shape, seed):
    rng = random.Random(seed)
    keys = sorted(SHAPES[shape](rng))
    pg.sql("CREATE TABLE t (id smallint PRIMARY KEY, n int NOT NULL DEFAULT 0)")
    pg.sql("INSERT INTO t SELECT unnest(%s::bigint[])", (keys,))
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    batch, together = rng.choice([7, 10, 64]), rng.choice([1, 4, 8])
    window, cursor = p.window(None, rows=rng.randint(1, 50), batch=batch), None
    while int(window["scanned"]) > 0:
        cursor = window["cursor"]
        window = p.window_of_keys(cursor, rows=rng.choice([batch, 500, 1000]), batch=batch, together=together, tight=rng.random() < 0.8)
        if int(window["scanned"]) == 0:
            window = p.window(cursor, rows=rng.randint(1, 60), batch=batch)
    inside = """SELECT (SELECT count(*) FROM t WHERE id BETWEEN first_key[1]::int AND last_key[1]::int), rows FROM drover.batches"""
    counts = pg.sql(inside)
    assert all(0 < count <= rows for count, rows in counts) and sum(count for count, _ in counts) == len(keys)
    assert p.run_all() == len(keys)
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, len(keys))]


def test_there_is_nothing_above_the_last_number(pg, plan):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0);"
           "INSERT INTO t SELECT 9223372036854775807 - g FROM generate_series(0, 34) g")
    p = plan("-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n")
    window = p.window_of_keys("{9223372036854775777}", rows=100, batch=10, tight=True)
    assert (window["cursor"], window["found"]) == ("{9223372036854775807}", "30")
    assert p.window_of_keys(window["cursor"], rows=100, batch=10, tight=True)["found"] == "0"


def test_turns_pay_where_rows_lie_in_the_order_of_their_keys(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 1000) g")
    file = "-- drover: table t\n-- drover: pending n = 0\n-- drover: set n = n + 1\n"
    assert plan(file, "unknown").turns_pay
    pg.sql("ANALYZE t")
    assert plan(file, "yes").turns_pay
    pg.sql("DELETE FROM t; INSERT INTO t SELECT g FROM generate_series(1, 1000) g ORDER BY md5(g::text); ANALYZE t")
    assert not plan(file, "no").turns_pay


def test_a_trigger_that_undoes_the_change_is_seen(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 5) g;"
           "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() = 1 THEN "
           "UPDATE t SET b = NULL WHERE id = new.id; END IF; RETURN NULL; END $$;"
           "CREATE TRIGGER undo AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION undo()")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    assert not p.row_local
    p.scan()
    with pytest.raises(SqlError, match="DR005"):
        p.run_all()


GENERAL = """-- drover: table customers
-- drover: pending address_id IS NULL AND street IS NOT NULL
-- drover: backfill
INSERT INTO addresses (customer_id, street) -- :batch in a comment; ':keys' in a string
SELECT c.id, c.street || ':batch' FROM customers c JOIN :batch b ON b.id = c.id
ON CONFLICT (customer_id) DO NOTHING;

UPDATE customers c SET address_id = a.id
  FROM addresses a
 WHERE c.id = ANY (:keys) AND a.customer_id = c.id AND c.id IN (SELECT id FROM :batch);
"""


def addresses(pg):
    pg.sql("CREATE TABLE customers (id bigint PRIMARY KEY, street text, address_id bigint);"
           "CREATE TABLE addresses (id bigserial PRIMARY KEY, customer_id bigint UNIQUE, street text)")
    pg.sql("INSERT INTO customers SELECT g, CASE WHEN g % 10 > 0 THEN 's' || g END FROM generate_series(1, 200) g")


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_the_general_form_with_two_statements(pg, plan, mode):
    addresses(pg)
    p = plan(GENERAL, "m", mode)
    assert p.roles("range") == ["lock", "transform", "transform", "check"]
    assert p.roles("replay") == ["lock", "transform", "transform", "check", "outcome"]
    windows = p.scan(rows=50, batch=20)
    if mode == "row":
        for w in windows:
            keys = pg.value("SELECT %s::text[]", (w["keys1"],))
            assert p.rows([w["numbers"][1:].split(",")[0].rstrip("}")] * len(keys), [keys]) == len(keys)
        assert len(p.close_windows()) == 12
    else:
        assert p.run_all() == 180
    assert p.verify()["pending"] == 0
    assert pg.value("SELECT count(*) FROM customers c JOIN addresses a ON a.id = c.address_id AND a.street = c.street || ':batch'") == 180


def test_a_predicate_on_another_table_is_tested_with_a_snapshot_after_the_locks(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE done (id int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 3) g")
    p = plan("-- drover: table t\n-- drover: pending NOT EXISTS (SELECT FROM done WHERE done.id = t.id)\n-- drover: backfill\n"
             "UPDATE t SET n = n + 1 FROM :batch b WHERE t.id = b.id;\nINSERT INTO done SELECT id FROM :batch;\n")
    assert p.roles("range") == ["lock", "pick", "transform", "transform", "check"]
    p.scan(batch=3)
    number = p.batches()[0][0]
    # A second session works on the same rows (as a zombie would), past its claim.
    other = p.begin(Session(pg))
    other.exec("SELECT set_config('drover.first', '{1}', true), set_config('drover.last', '{3}', true), set_config('drover.even', '0', true),"
               "set_config('drover.left', '', true)")
    for step in p.scripts["range"]:
        other.exec(step["sql"])
    result = []
    thread = threading.Thread(target=lambda: result.append(p.batch(number)))
    thread.start()
    pg.server.sql("SELECT pg_sleep(0.5)")
    other.exec("COMMIT")
    thread.join()
    other.close()
    assert result == [0]
    assert pg.sql("SELECT n FROM t") == [(1,), (1,), (1,)]


@pytest.mark.parametrize("parameter", ["text[]", "bigint[]", "numeric[]"])
def test_a_handler(pg, plan, parameter):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, done boolean NOT NULL DEFAULT false); INSERT INTO t SELECT g FROM generate_series(1, 30) g;"
           f"CREATE PROCEDURE work(keys {parameter}) LANGUAGE sql AS $$ UPDATE t SET done = true WHERE id::text = ANY (keys::text[]) $$")
    p = plan("-- drover: table t\n-- drover: pending NOT done\n-- drover: handler procedure work\n")
    assert p.everything(batch=7) == 30


def test_a_migration_begins_with_the_session_settings_it_was_registered_under(pg, plan, tmp_path):
    pg.sql("CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, at timestamptz, s text); CREATE TABLE t (id int);"
           "INSERT INTO app.t SELECT g, '2024-01-01 00:00+00' FROM generate_series(1, 5) g")
    pg.sql(f'ALTER DATABASE "{pg.name}" SET search_path = app')
    pg.sql(f'ALTER DATABASE "{pg.name}" SET TimeZone = \'Asia/Tokyo\'')
    p = plan("-- drover: table t\n-- drover: set s = at::text\n")
    pg.sql(f'ALTER DATABASE "{pg.name}" RESET ALL')
    p.s.close()
    p.s = Session(pg)
    assert p.everything() == 5
    assert pg.value("SELECT min(s) FROM app.t") == "2024-01-01 09:00:00+09"


def test_the_search_path_means_the_same_schemas_for_every_role(pg, tmp_path, plan):
    role = pg.role("owner", "LOGIN SUPERUSER")
    pg.sql(f"CREATE SCHEMA {role}; CREATE TABLE {role}.t (id int PRIMARY KEY, a int, b int); INSERT INTO {role}.t VALUES (1, 1)")

    class As:
        url = pg.url_as(role)

    p = Plan(pg, register(As, tmp_path, "m", "-- drover: table t\n-- drover: set b = (SELECT t.a FROM t)\n-- drover: pending b IS NULL\n"))
    assert p.settings["search_path"] == f"{role}, public"
    assert p.everything() == 1
    p.s.close()


# --- ledger-only ---


def test_ledger_only_takes_exactly_the_keys_that_the_scan_found(pg, plan):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int NOT NULL)")
    pg.sql("INSERT INTO t SELECT g, 1 FROM generate_series(1, 20) g; INSERT INTO t SELECT g * 2, 1 FROM generate_series(20, 30) g")
    p = plan("-- drover: table t\n-- drover: set v = v * 10\n-- drover: ledger\n")
    assert "sweep" not in p.statements and "verify" not in p.statements
    p.scan(batch=10)
    assert [listed for _, listed, _ in p.batches()] == [False, False, True, False]
    pg.sql("INSERT INTO t VALUES (41, 1), (43, 1); DELETE FROM t WHERE id = 42")
    assert p.run_all() == 29 + 1
    assert pg.value("SELECT count(*) FROM t WHERE v = 10") == 30
    assert pg.sql("SELECT v FROM t WHERE id IN (41, 43)") == [(1,), (1,)]


def test_splits_of_a_ledger_only_migration_keep_their_keys(pg, plan):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int NOT NULL); INSERT INTO t SELECT g, 1 FROM generate_series(1, 10) g")
    p = plan("-- drover: table t\n-- drover: set v = v * 10\n-- drover: ledger\n")
    p.scan(batch=10)
    pg.sql("DELETE FROM t WHERE id = 4")
    number, listed, _ = p.batches()[0]
    state, children = p.split(number, listed, ways=3)
    assert state == "split" and [(c[1], c[2]) for c in children] == [(False, 3), (False, 3), (False, 3)]
    pg.sql("INSERT INTO t VALUES (4, 1)")
    assert p.run_all() == 9
    assert pg.value("SELECT v FROM t WHERE id = 4") == 1


def test_row_jobs_of_a_ledger_only_migration_refuse_what_is_not_theirs(pg, plan):
    pg.sql("CREATE TABLE t (id text PRIMARY KEY, v int NOT NULL); INSERT INTO t SELECT 'k' || g, 1 FROM generate_series(1, 10) g")
    p = plan("-- drover: table t\n-- drover: set v = v * 10\n-- drover: ledger\n-- drover: mode row\n")
    p.scan(batch=5)
    first, second = [n for n, _, _ in p.batches("open")]
    pg.sql("INSERT INTO t VALUES ('k11', 1)")
    assert p.rows([first] * 3, [["k9", "k11", "nothing"]]) == 0  # another window's, not found by the scan, not there
    assert p.rows([first, first, first, 999], [["k1", "k1", "k10", "k2"]]) == 2  # twice in one transaction; a window that is not there
    assert sorted(p.missing(first)[0] + p.missing(second)[0]) == ["k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"]
    assert p.close_windows() == []
    rest = p.missing(first)[0]
    assert p.rows([first] * len(rest), [rest]) == len(rest)
    assert p.close_windows() == [first]
    assert p.rows([first], [["k1"]]) == 0  # closed
    assert pg.value("SELECT count(*) FROM t WHERE v > 10") == 0


def test_a_window_of_row_jobs_that_became_a_batch_does_none_of_its_rows_twice(pg, plan):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int NOT NULL); INSERT INTO t SELECT g, 1 FROM generate_series(1, 10) g")
    p = plan("-- drover: table t\n-- drover: set v = v * 10\n-- drover: ledger\n-- drover: mode row\n")
    p.scan(batch=10)
    number, listed, _ = p.batches("open")[0]
    assert p.rows([number] * 3, [["1", "2", "7"]]) == 3
    pg.sql("UPDATE drover.batches SET state = 'queued'")
    state, children = p.split(number, listed, ways=2)
    assert state == "split"
    assert p.rows([number], [["5"]]) == 0  # row jobs have nothing to do with it any more
    assert sum(p.batch(n, is_list) for n, is_list, _ in children) == 7
    assert pg.value("SELECT count(*) FROM t WHERE v = 10") == 10


# --- dead letters ---


def poisoned(pg):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int, c int)")
    pg.sql("INSERT INTO t SELECT g, CASE g WHEN 13 THEN 'x' ELSE g::text END FROM generate_series(1, 20) g")


def test_a_window_whose_predicate_raises(pg, plan):
    poisoned(pg)
    p = plan("-- drover: table t\n-- drover: set b = a::int\n")
    with pytest.raises(SqlError, match="22P02"):
        p.scan(batch=20)
    p.scan(batch=20, which="scan_blind")
    queue, dead = p.batches(), []
    while queue:
        number, listed, rows = queue.pop(0)
        try:
            p.batch(number, listed)
        except SqlError as e:
            assert e.sqlstate == "22P02"
            if rows == 1:
                dead.append(p.bury(number, listed, blind=True, error={"sqlstate": e.sqlstate, "message": str(e)}))
            else:
                queue += p.split(number, listed, ways=2, blind=True)[1]
    assert len(dead) == 1 and dead[0] is not None
    assert pg.value("SELECT count(*) FROM t WHERE b = id") == 19
    key, row = pg.sql("SELECT key, \"row\" FROM drover.failed_jobs")[0]
    assert key == ["13"] and json.loads(row) == {"id": 13, "a": "x", "b": None, "c": None}
    # A sweep leaves the dead letter alone, and does not trip over it.
    assert p.window(None, which="sweep", has_failed=True)["found"] == "0"
    assert p.verify(which="verify_blind")["dead"] == 1
    # Mended and replayed; replayed again there is nothing to do.
    pg.sql("UPDATE t SET a = '13' WHERE id = 13; UPDATE drover.failed_jobs SET state = 'queued'")
    assert p.replay(dead[0]) == 1
    assert pg.value("SELECT state FROM drover.failed_jobs") == "done"
    with pytest.raises(SqlError, match="DR001"):
        p.replay(dead[0])
    assert p.verify()["pending"] == 0


def test_outcomes_of_replays(pg, plan):
    pg.sql("CREATE TABLE t (k text, n int, a int, b int, PRIMARY KEY (k, n)); INSERT INTO t SELECT 'k', g, g FROM generate_series(1, 4) g")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    p.scan(batch=1)
    ids = [p.bury(number) for number, _, _ in p.batches()]
    assert p.batches() == [] and p.verify() == {"scanned": 4, "pending": 4, "dead": 4, "ignored": 0, "keys": []}
    pg.sql("DELETE FROM t WHERE n = 2; UPDATE t SET b = 0 WHERE n = 3; UPDATE drover.failed_jobs SET state = 'queued' WHERE key[2] <> '4'")
    assert p.replay(*ids) == 1
    assert pg.sql("SELECT key[2], state FROM drover.failed_jobs ORDER BY 1") == [("1", "done"), ("2", "gone"), ("3", "not pending"), ("4", "dead")]
    pg.sql("UPDATE drover.failed_jobs SET state = 'ignored' WHERE state = 'dead'")
    assert p.verify()["ignored"] == 1
    assert p.window(None, which="sweep", has_failed=True)["found"] == "0"


def test_a_row_that_is_not_pending_is_not_buried(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t VALUES (1, 1)")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    p.scan()
    pg.sql("UPDATE t SET b = 5")
    assert p.bury(p.batches()[0][0]) is None
    assert pg.sql("SELECT state, rows_skipped FROM drover.batches") == [("done", 1)]


def test_the_image_of_a_large_row_is_left_out(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t SELECT 1, string_agg(md5(g::text), '') FROM generate_series(1, 100000) g")
    p = plan("-- drover: table t\n-- drover: set b = length(a)\n")
    p.scan()
    assert p.bury(p.batches()[0][0]) is not None
    assert "bytes left out" in pg.value("SELECT \"row\" FROM drover.failed_jobs")


# --- scan, sweep, split ---


def test_windows_are_bounded_and_batches_have_boundaries_of_rows_found(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    pg.sql("INSERT INTO t SELECT g * 100, CASE WHEN g % 50 = 0 THEN 1 END FROM generate_series(1, 1000) g")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    windows = p.scan(rows=100, batch=3)
    assert [w["scanned"] for w in windows] == ["100"] * 10
    assert [w["found"] for w in windows] == ["2"] * 10
    assert pg.sql("SELECT first_key, last_key, rows FROM drover.batches ORDER BY number LIMIT 1") == [(["5000"], ["10000"], 2)]
    first = p.window(None, rows=1000, batch=7, limit=10)
    assert (first["found"], first["cursor"], first["counts"]) == ("10", "{50000}", "{7,3}")


def test_a_sweep_leaves_alone_what_lies_in_unfinished_batches(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, 1 FROM generate_series(1, 100) g")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    p.scan(batch=30)
    assert p.window(None, which="sweep")["found"] == "0"
    numbers = [n for n, _, _ in p.batches()]
    p.batch(numbers[0])
    pg.sql("INSERT INTO t VALUES (0, 1), (101, 1); UPDATE t SET b = NULL WHERE id = 7")
    swept = p.window(None, which="sweep")
    assert swept["found"] == "3"
    assert p.run_all() == 100 - 30 + 3
    assert p.window(None, which="sweep")["found"] == "0" and p.verify()["pending"] == 0


def test_a_split_partitions_what_is_pending(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, 1 FROM generate_series(1, 100) g")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    p.scan(batch=100)
    number = p.batches()[0][0]
    pg.sql("UPDATE t SET b = 9 WHERE id BETWEEN 1 AND 10")
    state, children = p.split(number, ways=8)
    assert state == "split" and [c[2] for c in children] == [12, 12, 12, 12, 12, 12, 12, 6]
    assert p.run_all() == 90
    # Nothing left to split: it is done.
    pg.sql("UPDATE t SET b = NULL")
    p.scan(batch=100)
    number = p.batches()[0][0]
    pg.sql("UPDATE t SET b = 1")
    assert p.split(number) == ("done", [])


def test_empty_table_and_one_row(pg, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    assert p.scan() == []
    assert p.window(None)["numbers"] is None
    pg.sql("INSERT INTO t VALUES (1, 1)")
    assert p.everything() == 1


# --- plans of the server's ---


def explain(p, sql, *params):
    p.begin()
    p.s.exec("SELECT set_config('drover.first', $1, true), set_config('drover.last', $2, true), set_config('drover.claim1', $3, true),"
             "set_config('drover.keys1', $3, true), set_config('drover.left', '', true)", *p.example)
    rows = p.s.exec("EXPLAIN " + sql, *params)
    p.s.exec("ROLLBACK")
    return "\n".join(r["QUERY PLAN"] for r in rows)


@pytest.mark.parametrize("state", ["fresh", "analyzed", "stale"])
@pytest.mark.parametrize("key", ["int", "uuid", "composite"])
def test_the_table_is_read_by_its_key_whatever_the_statistics_say(pg, plan, state, key):
    type_, value = ("uuid", "md5({}::text)::uuid") if key == "uuid" else ("int", "{}")
    pg.sql(f"CREATE TABLE t (k {type_}, n int, a int, b int, PRIMARY KEY (k{', n' if key == 'composite' else ''})) WITH (autovacuum_enabled = off)")
    pg.sql("CREATE INDEX ON t (b)")
    if state == "stale":
        pg.sql("ANALYZE t")
    pg.sql(f"INSERT INTO t SELECT {value.format('g')}, g, g FROM generate_series(1, 20000) g")
    if state == "analyzed":
        pg.sql("ANALYZE t")
    p = plan("-- drover: table t\n-- drover: set b = a\n")
    low, high = [r[0] for r in pg.sql("SELECT k::text FROM t ORDER BY k OFFSET 5 LIMIT 1000")][::999]
    rest = ["1"] if key == "composite" else []
    p.example = array([low] + rest), array([high] + rest), array([low, high])
    text = explain(p, p.statements["scan"], array([low] + rest), 1000, 1000, "queued", None, False)
    assert "Index Scan using t_pkey on t" in text and "Seq Scan on t\n" not in text and "Parallel" not in text, text
    for tight in (False, True) if key == "int" else (False,):
        text = explain(p, p.statements["scan_leaps"], array([low] + rest), 5000, 1000, "queued", 1, tight)
        assert len(re.findall(r"Index (?:Only )?Scan using t_pkey on t.*\n *Index Cond: \(.*k\b.* > ", text)) == 2 and "Sort Key: t" not in text, text
        assert (re.search(r"Index Cond: \(.*k = ", text) is not None) == tight, text
    text = explain(p, p.scripts["range"][0]["sql"])
    assert "Index Scan using t_pkey on t" in text, text
    if key != "composite":
        text = explain(p, p.scripts["list"][0]["sql"])
        assert "Index Scan using t_pkey on t" in text or "Index Only Scan" in text, text
    g = plan("-- drover: table t\n-- drover: pending b IS NULL AND NOT EXISTS (SELECT FROM t u WHERE u.k = t.k AND u.b = 7)\n-- drover: mode row\n"
             "-- drover: backfill\nUPDATE t SET b = a FROM :batch x WHERE t.k = x.k;\n", "general")
    g.example = p.example
    for sql, *params in ([g.scripts["range"][0]["sql"]], [g.statements["split_range"], 1, 2], [g.statements["missing"], 1, False],
                         [g.statements["close"], 1, 10, False], [g.statements["verify"], array([low] + rest), 1000, 10],
                         [g.statements["sweep"], array([low] + rest), 1000, 1000, "queued", None, True]):
        text = explain(g, sql, *params)
        assert re.search(r"Index Scan using t_pkey on t .*\n *Index Cond: \(.*k\b.* >", text) and "Scan on t\n" not in text, text
        assert "Scan using t_b_idx on t\n" not in text, text


@pytest.mark.parametrize("state", ["fresh", "analyzed", "stale"])
def test_keys_of_several_columns_are_looked_up_one_by_one_whatever_the_statistics_say(pg, plan, state):
    pg.sql("CREATE TABLE t (k int, n int, a int, b int, PRIMARY KEY (k, n)) WITH (autovacuum_enabled = off)")
    if state == "stale":
        pg.sql("ANALYZE t")
    pg.sql("INSERT INTO t SELECT g % 100, g, g FROM generate_series(1, 20000) g")
    if state == "analyzed":
        pg.sql("ANALYZE t")
    general = "-- drover: pending b IS NULL AND NOT EXISTS (SELECT FROM t u WHERE u.k = t.k AND u.n = t.n AND u.b = 7)\n"
    numbers = range(1, 20000, 50)
    for name, text in {"set": "", "ledger": "-- drover: ledger\n", "general": general, "rows": "-- drover: mode row\n"}.items():
        p = plan(f"-- drover: table t\n-- drover: set b = a\n{text}", name)
        steps = [(s["sql"],) for s in p.scripts["list"] + p.scripts["range"] if s["role"] in ("lock", "pick")]
        for sql, *params in [*steps, (p.statements["split_list"], 1, 2), (p.statements["image_list"],)]:
            p.begin()
            for setting, values in {"claim1": [n % 100 for n in numbers], "claim2": numbers, "first": [0, 0], "last": [99, 20000]}.items():
                p.s.exec("SELECT set_config('drover.' || $1, $2, true)", setting, array(map(str, values)))
            text = "\n".join(row["QUERY PLAN"] for row in p.s.exec("EXPLAIN " + sql, *params))
            p.s.exec("ROLLBACK")
            assert "Scan on t\n" not in text, text
            for condition in re.findall(r"Scan using t_pkey on t .*\n *(.*)", text):
                assert re.search(r"Index Cond: .*(k = .* AND .*n = |ROW\(k, n\) >=)", condition), text


# --- registering ---


REFUSED = [
    ("no table", "-- drover: table nothing\n-- drover: set b = 1", [":1:", "no table 'nothing'"]),
    ("a table misspelt", "-- drover: table orderz\n-- drover: set b = 1", ["did you mean 'orders'?"]),
    ("a view", "-- drover: table v\n-- drover: set b = 1", ["is a view"]),
    ("parent", "-- drover: table parent\n-- drover: set b = 1", ["inherit"]),
    ("no key", "-- drover: table nokey\n-- drover: set b = 1", ["no primary key", "'-- drover: key code'"]),
    ("no key at all", "-- drover: table bare\n-- drover: set b = 1", ["no primary key", "ADD PRIMARY KEY"]),
    ("nullable key", "-- drover: table orders\n-- drover: key maybe\n-- drover: set b = 1", [":2:", "may be NULL"]),
    ("not unique", "-- drover: table orders\n-- drover: key a\n-- drover: set b = 1", [":2:", "no unique index"]),
    ("partial", "-- drover: table orders\n-- drover: key part\n-- drover: set b = 1", ["partial"]),
    ("deferrable", "-- drover: table orders\n-- drover: key defer\n-- drover: set b = 1", ["deferrable"]),
    ("key in another order", "-- drover: table orders\n-- drover: key y, x\n-- drover: set b = 1", ["another order", "'-- drover: key x, y'"]),
    ("no such key", "-- drover: table orders\n-- drover: key idd\n-- drover: set b = 1", ["no column 'idd'"]),
    ("columns, all at once", "-- drover: table orders\n-- drover: set bb = aa\n-- drover: set c = zz\n-- drover: where dd > 1",
     [":2: 'set': table 'orders' has no column 'bb'", ":2: 'set': table 'orders' has no column 'aa'; did you mean 'at'?", ":3:", "'zz'", ":4:", "'dd'"]),
    ("generated", "-- drover: table orders\n-- drover: set gen = 1", ["GENERATED ALWAYS"]),
    ("part of the key", "-- drover: table orders\n-- drover: set id = 1\n-- drover: pending true", ["part of the key"]),
    ("self-reading", "-- drover: table orders\n-- drover: set b = b + 1", [":2:", "reads the column itself", "-- drover: ledger"]),
    ("not null", "-- drover: table orders\n-- drover: set x = a", ["cannot be NULL"]),
    ("clock", "-- drover: table orders\n-- drover: set at = now()", ["reads the clock"]),
    ("random", "-- drover: table orders\n-- drover: set b = random()", ["random"]),
    ("type", "-- drover: table orders\n-- drover: set b = 'x'::text", [":2: 'set'", "is of type integer but expression is of type text"]),
    ("not boolean", "-- drover: table orders\n-- drover: set b = 1\n-- drover: pending a + 1", [":3: 'pending'", "must be type boolean"]),
    ("aggregate", "-- drover: table orders\n-- drover: set b = 1\n-- drover: pending count(*) > 1", ["aggregate"]),
    ("json", "-- drover: table orders\n-- drover: set b = 1\n-- drover: pending j = '{}'", ["json", "::jsonb"]),
    ("no function", "-- drover: table orders\n-- drover: set b = frobnicate(a)", ["function frobnicate(integer) does not exist"]),
    ("no handler", "-- drover: table orders\n-- drover: ledger\n-- drover: handler procedure nobody", ["no procedure 'nobody'"]),
    ("a function for a handler", "-- drover: table orders\n-- drover: ledger\n-- drover: handler procedure f", ["function f(integer)"]),
    ("statement", "-- drover: table orders\n-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE orders o SET b = 1\n  FROM :batch t\n"
                  " WHERE o.id = t.id\n   AND o.nope = 1;\n", [":7:", "nope"]),
    ("assignment", "-- drover: table orders\n-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE orders o SET b = 1,\n  c = o.a ||\n  o.nope\n"
                   "  FROM :batch t WHERE o.id = t.id;\n", [":6:", "nope"]),
    ("keys of several columns", "-- drover: table orders\n-- drover: key x, y\n-- drover: pending b IS NULL\n-- drover: backfill\n"
                                "UPDATE orders SET b = 1 WHERE id = ANY (:keys);\n", [":5:", ":batch"]),
    ("of Drover's own", "-- drover: table drover.migrations\n-- drover: set name = 'x'\n-- drover: ledger", ["belongs to"]),
]


@pytest.mark.parametrize("case", REFUSED, ids=[c[0] for c in REFUSED])
def test_what_is_refused_says_why_and_changes_nothing(pg, tmp_path, case):
    pg.sql("CREATE TABLE orders (id int PRIMARY KEY, a int, b int, c int, x int NOT NULL, y int NOT NULL, maybe int UNIQUE, part int NOT NULL, "
           "defer int NOT NULL UNIQUE DEFERRABLE, gen int GENERATED ALWAYS AS (1) STORED, at timestamptz, j json, UNIQUE (x, y));"
           "CREATE UNIQUE INDEX ON orders (part) WHERE a > 0; CREATE VIEW v AS SELECT * FROM orders;"
           "CREATE TABLE parent (id int PRIMARY KEY, b int); CREATE TABLE child () INHERITS (parent);"
           "CREATE TABLE nokey (code text NOT NULL UNIQUE, b int); CREATE TABLE bare (a int, b int);"
           "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    said = register(pg, tmp_path, "m", case[1] + "\n", rc=1)
    for part in case[2]:
        assert part in said, said
    assert pg.value("SELECT count(*) FROM drover.migrations") == 0


def test_registering_again_resumes_and_a_changed_file_is_refused(pg, tmp_path):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    text = "-- drover: table t\n-- drover: set b = a\n-- drover: tries 3\n-- drover: timeout 5s\n"
    first = register(pg, tmp_path, "m", text)
    again = register(pg, tmp_path, "m", text)
    assert first["created"] and not again["created"] and first["id"] == again["id"]
    assert pg.value("SELECT options FROM drover.migrations") == {"tries": "3", "query_timeout_ms": "5000"}
    assert "drover amend m" in register(pg, tmp_path, "m", text + "-- changed\n", rc=1)
    assert pg.sql("SELECT action FROM drover.events") == [("register",)]


def test_amend(pg, tmp_path):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 5) g; CREATE TABLE u (id int PRIMARY KEY, b int)")
    text = "-- drover: table t\n-- drover: set b = a\n"
    p = Plan(pg, register(pg, tmp_path, "m", text))
    p.scan()
    mended = text.replace("= a", "= a * 2")
    assert "only a paused one" in register(pg, tmp_path, "m", mended, command="amend", rc=1)
    # A job is under way while the migration is paused: the amendment waits for it.
    other = p.begin(Session(pg))
    other.exec("SELECT drover.enter($1, $2, false)", p.id, p.revision)
    pg.sql("SELECT drover.set_state(%s, '{running}', 'paused', 'test', NULL)", (p.id,))
    result = []
    thread = threading.Thread(target=lambda: result.append(register(pg, tmp_path, "m", mended, command="amend")))
    thread.start()
    thread.join(0.7)
    assert thread.is_alive()
    other.exec("COMMIT")
    other.close()
    thread.join()
    assert result[0]["revision"] == 2
    for wrong, why in ((text.replace("table t", "table u"), "is about table"), (text + "-- drover: ledger\n", "ledger-only")):
        assert why in register(pg, tmp_path, "m", wrong.replace("set b = a", "set b = id"), command="amend", rc=1)
    pg.sql("SELECT drover.set_state(%s, '{paused}', 'running', 'test', NULL)", (p.id,))
    with pytest.raises(SqlError, match="DR003"):
        p.run_all()
    p.load()
    assert p.run_all() == 5
    assert pg.value("SELECT sum(b) FROM t") == 30
    assert pg.sql("SELECT action FROM drover.events ORDER BY id") == [("register",), ("pause",), ("amend",), ("resume",)]


def test_a_producer_with_the_right_to_read_alone_may_register(pg, tmp_path, plan):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); CREATE TABLE secret (id int PRIMARY KEY, b int)")
    register(pg, tmp_path, "first", "-- drover: table t\n-- drover: set b = a\n")
    role = pg.role("producer")
    pg.sql(f"GRANT USAGE ON SCHEMA drover TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA drover TO {role};"
           f"GRANT INSERT, UPDATE ON drover.migrations TO {role}; GRANT INSERT ON drover.events TO {role}; GRANT SELECT ON t TO {role}")

    class As:
        url = pg.url_as(role)

    assert register(As, tmp_path, "m", "-- drover: table t\n-- drover: set b = a\n")["created"]
    assert "no rights on table" in register(As, tmp_path, "s", "-- drover: table secret\n-- drover: set b = 1\n", rc=1)
    pg.sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 5)")
    assert "row-level security" in register(As, tmp_path, "r", "-- drover: table t\n-- drover: set b = 1\n", rc=1)
