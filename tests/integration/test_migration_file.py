"""What a migration file with mistakes gets: one clear answer, and nothing changed."""

import re

import pytest

from lib.scenario import Gate, finish, migration_id

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, a int, b int, c int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g"
GOOD = "-- drover: table t\n-- drover: set b = a\n"


@pytest.fixture
def table(pg, drover):
    pg.sql(TABLE)
    drover.run("init")
    return pg


def refuse(pg, drover, text, *patterns, rc=1, name="m"):
    """The file is refused, saying all of this, and nothing is registered; the Result."""
    path = drover.migration(name, text)
    result = drover.run("produce", path, rc=rc)
    for pattern in patterns:
        assert re.search(pattern, result.err, re.IGNORECASE | re.MULTILINE), f"no {pattern!r} in: {result!r}"
    assert pg.value("SELECT count(*) FROM drover.migrations") == 0
    assert pg.value("SELECT count(*) FROM drover.batches") == 0
    return result


def line(number, text):
    """A pattern: this mistake at this line of the file."""
    return rf"^.*\.sql:{number}: .*{text}"


def test_all_mistakes_are_reported_at_once_with_their_lines(table, drover):
    text = """-- drover: table t
-- drover: tabel t
-- drover: mode rows
-- drover: batch-size many
-- drover: set b = (a
-- drover: set c
-- drover: table u
-- drover: tries 0
-- drover: pending b IS
-- drover: timeout soon
"""
    refuse(table, drover, text, line(2, "table"), line(3, "row"), line(4, "many"), line(5, ""), line(6, "="), line(7, "table"), line(8, ""),
           line(9, "expression"), line(10, "soon"))


@pytest.mark.parametrize("wrong, right", [("tabel", "table"), ("batchsize", "batch-size"), ("penidng", "pending"), ("Set", "set"),
                                          ("lock_timeout", "lock-timeout")])
def test_an_unknown_directive_suggests_the_nearest(table, drover, wrong, right):
    refuse(table, drover, f"{GOOD}-- drover: {wrong} 5\n", line(3, f"{wrong}.*{right}"))


@pytest.mark.parametrize("text, patterns", [
    ("", ["table"]),
    ("SELECT 1;\n", ["table"]),
    ("-- drover: set b = a\n", ["table"]),
    ("-- drover: table t\n", ["set|backfill|handler"]),
    (GOOD + "-- drover: backfill\nUPDATE t SET b = a;\n", ["set.*backfill|backfill.*set|exactly one|one of"]),
    (GOOD + "-- drover: handler procedure p\n", ["handler"]),
    (GOOD + "-- drover: mode row\n-- drover: mode batch\n", [line(4, "mode")]),
    (GOOD + "-- drover: set b = a + 1\n", [line(3, "b")]),
    (GOOD + "-- drover: key id, id\n", [line(3, "id")]),
    (GOOD + "-- drover: key id, a, b, c, d\n", [line(3, "four|4")]),
    (GOOD + "-- drover: ledger\n-- drover: pending b IS NULL\n", [line("[34]", "pending|ledger")]),
    ("-- drover: table t\n-- drover: backfill\n", ["backfill"]),
    ("-- drover: table t\n-- drover: backfill\nUPDATE t SET b = a;\n", ["pending"]),
    ("-- drover: table t\n-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = a WHERE;\n", [line(4, "syntax")]),
    ("-- drover: table t\n-- drover: pending b IS NULL\n-- drover: backfill\nUPDATE t SET b = 'a;\n", [line(4, "unterminated")]),
    ("-- drover: table t\n-- drover: pending b IS NULL\n-- drover: backfill\nBEGIN;\nUPDATE t SET b = a;\nCOMMIT;\n",
     [line(4, "BEGIN|transaction"), line(6, "COMMIT|transaction")]),
    (GOOD + "-- drover: nonsense\n-- drover: batch-size -1\n-- drover: batch-size 0\n", [line(3, "nonsense"), line(4, ""), line(5, "")]),
])
def test_a_mistake_is_named(table, drover, text, patterns):
    refuse(table, drover, text, *patterns)


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"-- drover: table t\n-- drover: set b = '\xff\xfe'\n", b"-- drover: table t\x00\n",
                                     b"\n" * 1000, b"a" * 2_000_000],
                         ids=["binary", "not UTF-8", "NUL", "empty lines", "too large"])
def test_a_malformed_file_is_one_clear_error(table, drover, content):
    path = drover.migration("m", "")
    path.write_bytes(content)
    result = drover.run("produce", path, rc=1)
    assert "m.sql" in result.err and result.out == ""
    assert table.value("SELECT count(*) FROM drover.migrations") == 0


def test_a_missing_file(table, drover):
    result = drover.run("produce", drover.dir / "0001_missing.sql", rc=1)
    assert "0001_missing" in result.err and len(result.err.splitlines()) == 1, result
    drover.run("produce", drover.dir, rc=1)


def test_windows_line_ends_and_a_byte_order_mark_are_fine(table, drover):
    path = drover.migration("m", "")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    finish(drover, path)
    assert table.value("SELECT count(*) FROM t WHERE b = a") == 100


def test_no_such_table(table, drover):
    refuse(table, drover, "-- drover: table nowhere.tt\n-- drover: set b = a\n", line(1, "nowhere"))
    refuse(table, drover, "-- drover: table tt\n-- drover: set b = a\n", line(1, "tt"))


def test_columns_that_do_not_exist_are_named_all_at_once(table, drover):
    refuse(table, drover, """-- drover: table t
-- drover: key identity
-- drover: set bb = a
-- drover: set c = aa + 1
-- drover: where zz > 1
-- drover: pending yy IS NULL
""", line(2, "identity"), line(3, "bb"), line(4, "aa"), line(5, "zz"), line(6, "yy"))


@pytest.mark.parametrize("text, at, message", [
    ("-- drover: table t\n-- drover: set b = a\n-- drover: pending b IS NUL\n", 3, "syntax error at or near"),
    ("-- drover: table t\n-- drover: set b = a\n-- drover: pending b = 'x'\n", 3, 'invalid input syntax for type integer: "x"'),
    ("-- drover: table t\n-- drover: set b = a\n-- drover: pending a + 1\n", 3, "boolean"),
    ("-- drover: table t\n-- drover: set b = a\n-- drover: pending count(*) > 1\n", 3, "aggregate"),
    ("-- drover: table t\n-- drover: set b = frobnicate(a)\n", 2, r"function frobnicate\(integer\) does not exist"),
    ("-- drover: table t\n-- drover: set b = 'x'::text\n", 2, "type"),
    ("-- drover: table t\n-- drover: pending b IS NULL\n-- drover: backfill\n\nSELECT 1;\nUPDATE t SET bb = 1\n FROM :batch x\n WHERE x.id "
     "= t.id;\n", 6, "bb"),
    ("-- drover: table t\n-- drover: pending b IS NULL\n-- drover: handler procedure nobody\n", 3, "nobody"),
])
def test_postgresqls_own_message_comes_with_the_line_in_the_file(table, drover, text, at, message):
    refuse(table, drover, text, line(at, message))


@pytest.mark.parametrize("set_", [
    "b = b + 1",           # changes in place: no sign of being done
    "b = (random() * 10)::int",
    "b = extract(epoch from now())::int",
    "b = extract(epoch from clock_timestamp())::int",
    "n = a",               # not null
])
def test_what_cannot_be_derived_asks_for_pending(table, drover, set_):
    table.sql("ALTER TABLE t ADD n int NOT NULL DEFAULT 0")
    refuse(table, drover, f"-- drover: table t\n-- drover: set {set_}\n", line("[0-9]+", "pending"))


def test_a_json_column_needs_no_equality(table, drover):
    table.sql("ALTER TABLE t ADD j json")
    finish(drover, drover.migration("json", "-- drover: table t\n-- drover: set j = json_build_object('a', a)\n"))
    assert table.value("SELECT count(*) FROM t WHERE j->>'a' = a::text") == 100


INJECTIONS = [
    "-- drover: set b = a; DROP TABLE t",
    "-- drover: set b = a) --",
    "-- drover: set b = a, c = 1",
    "-- drover: set b = a WHERE true",
    "-- drover: set b = (SELECT 1) /*",
    "-- drover: set b = a\n-- drover: pending true; DELETE FROM t",
    "-- drover: set b = a\n-- drover: pending b IS NULL) OR (true",
    "-- drover: set b = a\n-- drover: pending b IS NULL --",
    "-- drover: set b = a\n-- drover: where true) RETURNING (1",
    "-- drover: set b = a\n-- drover: where true /* ",
    "-- drover: set b = a\n-- drover: key id; DROP TABLE t",
    "-- drover: set b = a\n-- drover: key (id) --",
    "-- drover: pending b IS NULL\n-- drover: handler procedure p(); DROP TABLE t; --",
    "-- drover: pending b IS NULL\n-- drover: handler procedure p(1)",
    "-- drover: set b = $1",
    "-- drover: set b = :batch",
    "-- drover: set b = {table}",
]


@pytest.mark.parametrize("lines", INJECTIONS)
def test_a_directive_is_one_expression_and_no_more(table, drover, lines):
    if "NULL --" in lines:
        # A comment at the end is a comment: it must not swallow what Drover puts behind it.
        finish(drover, drover.migration("m", f"-- drover: table t\n{lines}\n"))
        assert table.value("SELECT count(*) FROM t WHERE b = a") == 100
    else:
        refuse(table, drover, f"-- drover: table t\n{lines}\n", line("[0-9]+", ""))
    assert table.value("SELECT count(*) FROM t") == 100


@pytest.mark.parametrize("name", ["t; DROP TABLE t", "t WHERE true", '"t', "t, t AS x", "(SELECT 1)", "a.b.c.d", "pg_class; SELECT 1"])
def test_a_table_is_one_name_and_no_more(table, drover, name):
    refuse(table, drover, f"-- drover: table {name}\n-- drover: set b = a\n", line(1, ""))
    assert table.value("SELECT count(*) FROM t") == 100


def test_a_changed_file_is_refused_under_a_registered_name(table, drover):
    path = drover.migration("m", GOOD)
    finish(drover, path)
    drover.run("produce", path, "--wait")  # the same file is no change, and nothing is left to do
    result = drover.run("produce", drover.migration("m", GOOD + "-- a comment more\n"), rc=1)
    assert "another text" in result.err and "amend" in result.err, result
    assert table.sql("SELECT revision, state FROM drover.migrations") == [(1, "complete")]


def test_amend_puts_a_mended_file_in_the_place_of_a_paused_one(table, drover):
    """The batches done under the first revision stay as they are; workers take up the second without a restart."""
    gate = Gate(table)
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = gate(a)\n-- drover: pending b IS NULL\n-- drover: batch-size "
                                 "10\n-- drover: lock-timeout 60s\n")
    worker = drover.worker("--concurrency", "1")
    producer = drover.popen("produce", path, "--wait")
    gate.wait()
    mended = drover.migration("m", "-- drover: table t\n-- drover: set b = -a\n-- drover: pending b IS NULL\n-- drover: batch-size 10\n")
    assert re.search("pause", drover.run("amend", "m", mended, rc=1).err)
    drover.run("pause", "m")
    amend = drover.popen("amend", "m", mended)  # waits until the last job of the first revision has left
    gate.open()
    amend.wait()
    assert table.value("SELECT revision FROM drover.migrations") == 2
    drover.run("resume", "m")
    producer.wait(rc=None)
    drover.run("produce", mended, "--wait")
    worker.terminate()
    worker.wait()
    old, new = table.sql("SELECT count(*) FILTER (WHERE b = a), count(*) FILTER (WHERE b = -a) FROM t")[0]
    assert old >= 10 and old + new == 100
    assert table.value("SELECT count(*) FROM drover.events WHERE action = 'amend'") == 1


def test_amend_takes_the_file_from_standard_input(table, drover):
    """A console in a container has no files of ours."""
    drover.run("produce", drover.migration("m", GOOD))
    drover.run("pause", "m")
    result = drover.run("amend", "m", "-", input="-- drover: table t\n-- drover: sett b = a\n", rc=1)
    assert "standard input:2: " in result.err, result
    drover.run("amend", "m", "-", input="-- drover: table t\n-- drover: set b = -a\n-- drover: pending b IS NULL\n")
    drover.run("resume", "m")
    finish(drover, "m")
    assert table.value("SELECT count(*) FROM t WHERE b = -a") == 100


@pytest.mark.parametrize("text, what", [
    ("-- drover: table u\n-- drover: set b = a\n", "table"),
    ("-- drover: table t\n-- drover: key code\n-- drover: set b = a\n", "key"),
    ("-- drover: table t\n-- drover: mode row\n-- drover: set b = a\n", "mode"),
    ("-- drover: table t\n-- drover: ledger\n-- drover: set b = a\n", "ledger"),
])
def test_amend_keeps_table_key_mode_and_ledger(table, drover, text, what):
    table.sql("ALTER TABLE t ADD code int; UPDATE t SET code = id; ALTER TABLE t ALTER code SET NOT NULL, ADD UNIQUE (code); CREATE TABLE "
              "u (LIKE t INCLUDING ALL)")
    drover.run("produce", drover.migration("m", GOOD))
    drover.run("pause", "m")
    result = drover.run("amend", "m", drover.migration("m", text), rc=1)
    assert what in result.err, result
    assert table.value("SELECT revision FROM drover.migrations") == 1


def test_options_of_the_file_are_the_migrations_defaults(table, drover):
    drover.run("produce", drover.migration("m", GOOD + "-- drover: tries 3\n-- drover: backoff 1,2\n-- drover: timeout 7s\n-- drover: "
                                                       "lock-timeout 90ms\n-- drover: batch-size 30\n"))
    settings = table.value("SELECT drover.settings_of(%s)", (migration_id(table, "m"),))
    assert {k: settings[k] for k in ("tries", "backoff", "query_timeout_ms", "lock_timeout_ms")} == {
        "tries": "3", "backoff": "1,2", "query_timeout_ms": "7000", "lock_timeout_ms": "90"}
    assert table.value("SELECT batch_size FROM drover.migrations") == 30
    assert table.value("SELECT count(*) FROM drover.batches") == 4
    drover.run("config", "m", "tries=5")
    assert table.value("SELECT drover.settings_of(%s)", (migration_id(table, "m"),))["tries"] == "5"


def test_other_sections_are_kept_and_checked_for_syntax(table, drover):
    sections = "-- drover: expand\nALTER TABLE t ADD z int;\n-- drover: verify\nSELECT 1;\n-- drover: contract\nALTER TABLE t DROP c;\n-- drover: rollback\nSELECT 2;\n"
    refuse(table, drover, GOOD + sections.replace("DROP c", "DROP DROP c"), line(8, "syntax"))
    finish(drover, drover.migration("m", GOOD + sections))
    assert table.value("SELECT count(*) FROM t WHERE b = a") == 100
    assert table.value("SELECT count(*) FROM information_schema.columns WHERE table_name = 't' AND column_name IN ('c', 'z')") == 1
    assert "ADD z int" in table.value("SELECT source FROM drover.migrations")
