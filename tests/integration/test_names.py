"""Names of any kind, for schemas, tables, columns, keys and files."""

import pytest

from lib.scenario import BY_STEPS, finish

NAMES = ["Order", "select", "a b", 'quo"te', "it's", "ünï", "semi;colon", "$1", ":batch", "--x", "%s", "{table}", "back\\slash", "a,b",
         "a=b", "(x)",
         "n" * 63, "drover", "1st", "*/", "new", "excluded", "changed", "still", "looked", "hits"]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def check(pg, drover, table, key, source, target, other):
    """Two migrations of a table: a `set` in batches and a `backfill` row by row."""
    pg.sql(f"CREATE TABLE {table} ({key} bigint PRIMARY KEY, {source} text, {target} text, {other} text);"
           f"INSERT INTO {table} SELECT g, 'v' || g FROM generate_series(1, 60) g")
    finish(drover,
           drover.migration("batch", f"-- drover: table {table}\n-- drover: set {target} = upper({source})\n-- drover: batch-size 25\n"),
           drover.migration("row", f"-- drover: table {table}\n-- drover: mode row\n-- drover: pending {other} IS NULL\n-- drover: "
                                   f"backfill\n"
                                   f"UPDATE {table} t SET {other} = t.{source} || '!' FROM :batch x WHERE x.{key} = t.{key}{BY_STEPS}"))
    assert pg.value(f"SELECT count(*) FROM {table} WHERE {target} = upper({source}) AND {other} = {source} || '!'") == 60
    drover.run("verify", "batch")
    drover.run("verify", "row")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_for_everything(pg, drover, name):
    schema, table = quoted(name[:60] + "_s"), quoted(name)
    pg.sql(f"CREATE SCHEMA {schema}")
    key, source, target, other = (quoted(name[:60] + suffix) for suffix in ("", "_a", "_b", "_c"))
    check(pg, drover, f"{schema}.{table}", key, source, target, other)


def test_unquoted_names_fold_as_in_sql(pg, drover):
    check(pg, drover, "Public.Forms", "ID", "Pages", "PageCount", "Étage")


def test_a_table_in_the_search_path_stays_the_one_it_was_at_registration(pg, drover):
    """The worker's own search path has a table of the same name in front."""
    pg.sql("CREATE SCHEMA app; CREATE SCHEMA decoy")
    for schema in ("app", "decoy"):
        pg.sql(f"CREATE TABLE {schema}.t (id int PRIMARY KEY, a int, b int); INSERT INTO {schema}.t SELECT g, g FROM generate_series(1, "
               f"50) g;"
               f"CREATE FUNCTION {schema}.f(int) RETURNS text LANGUAGE sql AS $$ SELECT '{schema}' $$;"
               f"ALTER TABLE {schema}.t ADD c text")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a\n-- drover: set c = f(a)\n-- drover: pending b IS NULL\n")
    drover.run("produce", path, env={"PGOPTIONS": "-c search_path=app"})
    drover.run_worker("--stop-when-empty", env={"PGOPTIONS": "-c search_path=decoy"})
    assert pg.sql("SELECT count(*) FILTER (WHERE b = a), min(c), max(c) FROM app.t") == [(50, "app", "app")]
    assert pg.value("SELECT count(*) FROM decoy.t WHERE b IS NULL AND c IS NULL") == 50
    drover.run("produce", path, "--wait", env={"PGOPTIONS": "-c search_path=decoy"})
    drover.run("verify", "m", env={"PGOPTIONS": "-c search_path=decoy"})


def test_a_keys_column_named_like_the_placeholders(pg, drover):
    check(pg, drover, '"placeholders"', '"keys"', '"batch"', '"first"', '"last"')


def test_the_files_name_is_the_migrations(pg, drover):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g")
    finish(drover, drover.migration("0001_A-b.v2", "-- drover: table t\n-- drover: set b = a\n"))
    drover.run("verify", "0001_A-b.v2")
    for name in ("it's", "a b", "ü", "x" * 101, ";"):
        result = drover.run("produce", drover.migration(name, "-- drover: table t\n-- drover: set b = a\n"), rc=1)
        assert "name" in result.err, result
    assert pg.sql("SELECT name FROM drover.migrations") == [("0001_A-b.v2",)]
