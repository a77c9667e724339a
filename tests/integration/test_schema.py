"""The schema drover: installed once whoever comes first, upgraded, recognised in a copy, and usable with the least rights."""

import re
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import pytest
from psycopg import sql

from lib.drover import Drover
from lib.postgres import Postgres
from lib.process import wait_for
from lib.scenario import finish

SCHEMA = Path(__file__).resolve().parents[2] / "sql/schema"


def newest():
    return max(int(path.name[:3]) for path in SCHEMA.glob("*.sql"))


def objects(pg):
    return pg.sql("""SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'drover'::regnamespace
                     UNION ALL SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'drover'::regnamespace ORDER BY 1""")


# ------------------------------------------------------------ installing


def test_init_installs_once_and_again_changes_nothing(pg, drover):
    first = drover.run("init", "--json").json
    assert first["schema_version"] == newest() and first["installed"] is True
    assert re.fullmatch("[0-9a-f]{12}", first["installation"])
    before = objects(pg)
    second = drover.run("init", "--json").json
    assert second == {**first, "installed": False}
    assert objects(pg) == before


def test_what_the_page_takes_away_is_all_there_was(pg, redis, drover):
    """docs/operations.md, with psql and redis-cli as the tests have them."""
    before = pg.sql("SELECT nspname FROM pg_namespace ORDER BY 1")
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, b int); INSERT INTO t SELECT g FROM generate_series(1, 100) g")
    drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: set b = id\n"))
    drover.worker("--migration", "another").wait_for_log("worker.ready")
    page = (SCHEMA.parents[1] / "docs/operations.md").read_text()
    installation = pg.value(re.search(r"-c '(SELECT installation [^']*)'", page)[1])
    pattern = re.search(r'--pattern "(\S+)"', page)[1].replace("$ID", installation)
    keys = list(redis.client().scan_iter(count=1000))
    assert keys and all(fnmatch(key, pattern) for key in keys), (pattern, keys)
    drover.stop_all()
    pg.sql(re.search(r"-c '(DROP SCHEMA [^']*)'", page)[1])
    assert pg.sql("SELECT nspname FROM pg_namespace ORDER BY 1") == before


def test_many_that_start_at_once_install_once(pg, drover):
    with ThreadPoolExecutor(6) as pool:
        results = [r.json for r in pool.map(lambda _: drover.run("init", "--json"), range(6))]
    assert len({r["installation"] for r in results}) == 1
    assert [r["installed"] for r in results].count(True) == 1
    assert pg.value("SELECT count(*) FROM drover.meta") == 1


def test_only_commands_that_begin_something_install_the_schema(pg, drover):
    """The others change nothing in whatever database they were pointed at by mistake."""
    for command in ("status", "status m", "status --watch", "workers", "config", "config tries", "config m", "verify m", "failed", "failed --group",
                    "failed show 1", "events", "events m", "pause m", "resume m", "retry all", "restart", "prune --yes"):
        result = drover.run(*command.split(), rc=1)
        assert result.err == "drover: there is no schema drover in this database: run `drover init`\n", command
    assert not pg.value("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'drover')")
    drover.run("config", "tries=4")
    assert pg.value("SELECT schema_version FROM drover.meta") == newest()


def test_only_commands_that_begin_something_upgrade_the_schema(pg, drover):
    drover.run("init")
    pg.sql("UPDATE drover.meta SET schema_version = 1")
    assert "run `drover init`" in drover.run("status", rc=1).err
    assert pg.value("SELECT schema_version FROM drover.meta") == 1


def test_an_old_version_is_upgraded_by_whoever_comes_first(pg, drover):
    pg.sql("CREATE SCHEMA drover;" + (SCHEMA / "001_tables.sql").read_text())
    pg.sql("""INSERT INTO drover.meta (schema_version, installation, system_identifier, database_oid)
              SELECT 1, 'aaaabbbbcccc', system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()) FROM pg_control_system()""")
    with ThreadPoolExecutor(4) as pool:
        results = [r.json for r in pool.map(lambda _: drover.run("init", "--json"), range(4))]
    assert {r["schema_version"] for r in results} == {newest()}
    assert {r["installation"] for r in results} == {"aaaabbbbcccc"}
    assert [r["upgraded_from"] for r in results].count(1) == 1
    assert pg.value("SELECT count(*) FROM pg_proc WHERE proname = 'claim_batch'") == 1


def test_a_newer_schema_is_refused(pg, drover):
    drover.run("init")
    pg.sql("UPDATE drover.meta SET schema_version = 999")
    for command in (["init"], ["status"], ["init", "--rekey"]):
        assert "version 999" in drover.run(*command, rc=1).err


def test_a_worker_waits_while_the_schema_is_another_versions(pg, drover):
    """Once and clearly said; it goes on by itself when somebody has upgraded it, or the workers."""
    drover.run("init")
    ours = pg.value("SELECT schema_version FROM drover.meta")
    for version, advice in ((999, "newer drover-worker"), (ours - 1, "drover init")):
        pg.sql("UPDATE drover.meta SET schema_version = %s", (version,))
        worker = drover.worker()
        worker.wait_for_log(f"schema.unusable.*version {version}.*{advice}; waiting")
        pg.sql("UPDATE drover.meta SET schema_version = %s", (ours,))
        worker.wait_for_log("worker.ready")
        assert worker.err.count("schema.unusable") == 1
        worker.terminate()
        worker.wait()


def test_a_failed_installation_leaves_nothing(pg, drover):
    """Something else is in the way: the error names the file, and what came before it is rolled back."""
    pg.sql("CREATE SCHEMA drover; CREATE TABLE drover.batches (mine int)")
    assert re.search("001_tables.*already exists", drover.run("init", rc=1).err)
    assert objects(pg) == [("batches",)]


# ------------------------------------------------------------ copies


def clone(pg):
    """A copy of the database in the same server, as CREATE DATABASE makes it."""
    copy = pg.server.database()
    copy.drop()
    pg.server.sql(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy.name), sql.Identifier(pg.name)))
    return copy


def test_a_copy_is_refused_until_it_is_rekeyed(pg, redis, drover):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT g FROM generate_series(1, 100) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: set n = id\n-- drover: batch-size 10\n")
    drover.run("produce", path)
    original = pg.value("SELECT installation FROM drover.meta")
    copy = clone(pg)
    try:
        there = {"DATABASE_URL": copy.url}
        for command in (["init"], ["status"], ["produce", path], ["retry", "all"], ["failed"]):
            result = drover.run(*command, rc=1, env=there)
            assert "drover init --rekey" in result.err and "copy" in result.err
        assert "drover init --rekey" in drover.run("monitor", rc=1, env=there).out
        rekeyed = drover.run("init", "--rekey", "--json", env=there).json
        assert rekeyed["rekeyed"] is True and rekeyed["installation"] != original
        assert drover.run("init", "--json", env=there).json["installation"] == rekeyed["installation"]
        assert copy.value("SELECT detail FROM drover.events WHERE action = 'rekey'").endswith(rekeyed["installation"])
        # Both are done, each by its own jobs, over the same Redis.
        finish(drover, path)
        assert copy.value("SELECT count(*) FROM t WHERE n IS NULL") == 100
        drover.env["DATABASE_URL"] = copy.url
        finish(drover, path)
        assert copy.value("SELECT count(*) FROM t WHERE n IS NULL") == 0
    finally:
        copy.drop()
    assert pg.value("SELECT installation FROM drover.meta") == original


def test_another_server_is_told_by_its_system_identifier(pg, redis, drover):
    """A dump restored elsewhere under the same oid: the server alone differs."""
    drover.run("init")
    row = pg.sql("SELECT schema_version, installation, system_identifier FROM drover.meta")[0]
    with Postgres(fresh=True) as other:
        database = other.database()
        there = Drover(database.url, redis.url)
        there.run("init")
        database.sql("UPDATE drover.meta SET schema_version = %s, installation = %s, system_identifier = %s", row)
        assert "drover init --rekey" in there.run("status", rc=1).err
        there.close()


# ------------------------------------------------------------ rights


def test_without_rights_one_clear_error_names_what_to_grant(pg, drover):
    role = pg.role("nobody")
    result = drover.run("init", rc=1, env={"DATABASE_URL": pg.url_as(role)})
    assert len(result.err.splitlines()) == 1
    assert f"GRANT CREATE ON DATABASE {pg.name} TO {role}" in result.err
    drover.run("init")
    result = drover.run("status", rc=1, env={"DATABASE_URL": pg.url_as(role)})
    assert len(result.err.splitlines()) == 1 and f"--worker-role {role}" in result.err


def test_an_upgrade_needs_the_owner(pg, drover):
    role = pg.role("reader")
    drover.run("init", "--reader-role", role)
    pg.sql("UPDATE drover.meta SET schema_version = 1")
    result = drover.run("init", rc=1, env={"DATABASE_URL": pg.url_as(role)})
    assert "upgraded" in result.err and "owner" in result.err
    assert pg.value("SELECT schema_version FROM drover.meta") == 1


def test_roles_that_do_not_exist_are_named(pg, drover):
    assert "no role 'ghost'" in drover.run("init", "--worker-role", "ghost", rc=1).err


@pytest.fixture
def roles(pg, drover):
    """One role for each part, with the grants that the docs name."""
    names = {kind: pg.role(kind) for kind in ("worker", "producer", "reader")}
    drover.run("init", *(word for kind, name in names.items() for word in (f"--{kind}-role", name)))
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n <> 7)); INSERT INTO t SELECT g FROM generate_series(1, 300) g")
    pg.sql(sql.SQL("GRANT SELECT, UPDATE ON t TO {}; GRANT SELECT ON t TO {}").format(
        sql.Identifier(names["worker"]), sql.Identifier(names["producer"])))
    return names


@pytest.mark.parametrize("directives", ["", "-- drover: mode row\n", "-- drover: ledger\n", "-- drover: ledger\n-- drover: mode row\n"])
def test_a_whole_run_with_the_least_rights(pg, drover, roles, directives):
    """Producer and workers with a role each, through splits, a dead letter, its replay, sweeps and completion; a reader looks on."""
    as_role = {kind: {"DATABASE_URL": pg.url_as(name)} for kind, name in roles.items()}
    path = drover.migration("m", f"-- drover: table t\n-- drover: set n = id\n-- drover: batch-size 50\n{directives}")
    producer = drover.popen("produce", path, "--wait", env=as_role["producer"])
    worker = drover.worker("--name", "w", env=as_role["worker"])
    producer.wait(rc=4)
    assert pg.sql("SELECT id FROM t WHERE n IS NULL") == [(7,)]

    reader = as_role["reader"]
    assert drover.run("status", "m", "--json", env=reader).json["failed"] == 1
    letter = drover.run("failed", "--json", env=reader).json[0]
    assert letter["sqlstate"] == "23514"
    drover.run("failed", "show", letter["id"], env=reader)
    drover.run("events", env=reader)
    drover.run("workers", env=reader)
    for command in (["pause", "m"], ["retry", "all"], ["config", "tries=2"], ["cancel", "m"], ["restart"], ["forget", "all", "--yes"]):
        assert "permission denied" in drover.run(*command, env=reader, rc=1).err

    pg.sql("ALTER TABLE t DROP CONSTRAINT t_n_check")
    admin = as_role["producer"]
    drover.run("config", "m", "tries=2", env=admin)
    drover.run("retry", "all", "--migration", "m", env=admin)
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE n IS NULL") == 0, "the replay is done")
    drover.run("verify", "m", env=admin)
    drover.run("forget", "all", "--yes", env=admin)
    drover.run("prune", "--hours", "0", "--yes", env=admin)
    drover.run("restart", env=admin)
    worker.wait()


def test_the_worker_role_cannot_change_what_it_runs(pg, drover, roles):
    for statement in ("UPDATE drover.migrations SET source = ''", "UPDATE drover.migrations SET plan = '{}'", "UPDATE drover.migrations SET settings = '{}'",
                      "INSERT INTO drover.worker_config VALUES (0, 'tries', '9')", "UPDATE drover.batches SET last_key = '{}'",
                      "DELETE FROM drover.batches", "DELETE FROM drover.failed_jobs", "UPDATE drover.meta SET installation = ''", "DELETE FROM drover.events"):
        with pytest.raises(Exception, match="permission denied"):
            pg.sql(statement, user=roles["worker"])
