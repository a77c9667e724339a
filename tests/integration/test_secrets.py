"""URLs and passwords from files, users of Redis's ACL, and TLS: what works, and what mistakes say."""

import pytest

from lib.certificates import Authority
from lib.postgres import Postgres
from lib.process import wait_for
from lib.redis_server import Redis
from lib.scenario import finish

PASSWORD = "hunter2 @/?#%"
MIGRATION = "-- drover: table t\n-- drover: set b = a\n"


@pytest.fixture
def table(pg):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 300) g")


def secret(drover, name, text):
    path = drover.dir / name
    path.write_text(text)
    return path


def all_is_migrated(pg):
    return pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


def test_urls_from_files_work_as_from_the_environment(pg, redis, drover, table):
    drover.env["DATABASE_URL_FILE"] = secret(drover, "database", drover.env.pop("DATABASE_URL") + "\n")
    drover.env["REDIS_URL_FILE"] = secret(drover, "redis", drover.env.pop("REDIS_URL") + "\n")
    finish(drover, drover.migration("0001_b", MIGRATION))
    assert all_is_migrated(pg)


def test_run_hands_urls_from_files_to_its_workers(pg, drover, table):
    drover.env["DATABASE_URL_FILE"] = secret(drover, "database", drover.env.pop("DATABASE_URL"))
    drover.run("run", drover.migration("0001_b", MIGRATION), env={"REDIS_URL": None, "REDIS_PASSWORD": "of another one"})
    assert all_is_migrated(pg)


@pytest.mark.parametrize("env, message", [
    ({"DATABASE_URL_FILE": "/nowhere"}, "both DATABASE_URL and DATABASE_URL_FILE are set: unset one of them"),
    ({"DATABASE_URL": None, "DATABASE_URL_FILE": "/nowhere"}, "DATABASE_URL_FILE: cannot read '/nowhere': No such file or directory"),
    ({"DATABASE_URL": None, "DATABASE_URL_FILE": "/dev/null"}, "DATABASE_URL_FILE: '/dev/null' is empty"),
    ({"DATABASE_PASSWORD_FILE": "/nowhere"}, "DATABASE_PASSWORD_FILE: cannot read '/nowhere': No such file or directory"),
    ({"REDIS_PASSWORD_FILE": "/dev/null"}, "REDIS_PASSWORD_FILE: '/dev/null' is empty"),
])
def test_a_missing_secret_is_one_clear_line(drover, env, message):
    for result in (drover.run("produce", drover.migration("0001_b", MIGRATION), env=env, rc=None), drover.run_worker(env=env, rc=None)):
        assert result.rc in (1, 2)
        lines = [line for line in result.err.splitlines() if "worker.start" not in line]
        assert len(lines) == 1 and message in lines[0], result


@pytest.fixture
def acl_redis():
    """Knows the user `drover` alone, with the rights that the documentation names."""
    with Redis(tcp=True) as server:
        client = server.client()
        client.execute_command("ACL", "SETUSER", "drover", "on", f">{PASSWORD}", "~drover:*", "+@all", "-@dangerous", "+info")
        client.execute_command("ACL", "SETUSER", "default", "off")
        yield server


def test_a_user_of_redis_with_the_documented_rights_suffices(pg, drover, table, acl_redis):
    drover.env["REDIS_URL"] = f"redis://drover@127.0.0.1:{acl_redis.port}"
    drover.env["REDIS_PASSWORD_FILE"] = secret(drover, "password", PASSWORD + "\n")
    finish(drover, drover.migration("0001_b", MIGRATION))
    assert all_is_migrated(pg)


def test_a_wrong_password_of_redis_is_one_clear_line(drover, table, acl_redis):
    env = {"REDIS_URL": f"redis://drover@127.0.0.1:{acl_redis.port}", "REDIS_PASSWORD": "hunter3"}
    for result in (drover.run_worker(env=env, rc=1), drover.run("produce", drover.migration("0001_b", MIGRATION), env=env, rc=1)):
        assert "WRONGPASS" in result.err.splitlines()[-1] and "hunter3" not in result.err, result


def test_a_wrong_password_of_postgresql_is_one_clear_line(drover, authority, tls_pg):
    cert, key = authority.issue("app")
    url = f"postgresql://app@localhost:{tls_pg.port}/postgres?hostaddr=127.0.0.1&sslmode=require&sslcert={cert}&sslkey={key}"
    env = {"DATABASE_URL": url, "DATABASE_PASSWORD": "hunter3"}
    for result in (drover.run_worker(env=env, rc=1), drover.run("status", env=env, rc=1)):
        assert 'password authentication failed for user "app"' in result.err.splitlines()[-1] and "hunter3" not in result.err, result


# --- PostgreSQL over TLS ---


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def tls_pg(authority):
    """Takes TCP connections with a client certificate and a password alone."""
    cert, key = authority.issue("postgres", "localhost")
    server = Postgres(tcp=True, settings={"ssl": "on", "ssl_cert_file": cert, "ssl_key_file": key, "ssl_ca_file": authority.ca})
    (server.data / "pg_hba.conf").write_text("local all all trust\nhostssl all app 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n")
    with server:
        server.sql(f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield server


def test_postgres_over_tls_with_certificates_and_a_password_file(drover, authority, tls_pg):
    cert, key = authority.issue("app")
    url = (f"postgresql://app@localhost:{tls_pg.port}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={authority.ca}"
           f"&sslcert={cert}&sslkey={key}")
    drover.env.update(DATABASE_URL=url, DATABASE_PASSWORD_FILE=secret(drover, "password", PASSWORD + "\n"))
    tls_pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 300) g")
    finish(drover, drover.migration("0001_b", MIGRATION))
    assert tls_pg.sql("SELECT count(*) FROM t WHERE b IS NULL") == [(0,)]
    drover.worker()
    wait_for(lambda: tls_pg.sql("SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl s JOIN pg_stat_activity USING (pid) "
                                "WHERE usename = 'app'") == [(True,)], "the worker's connections are encrypted")


def test_a_postgres_certificate_that_does_not_match_is_one_clear_line(drover, authority, tls_pg):
    cert, key = authority.issue("app")
    parameters = f"sslmode=verify-full&sslrootcert={authority.ca}&sslcert={cert}&sslkey={key}"
    env = {"DATABASE_URL": f"postgresql://app@127.0.0.1:{tls_pg.port}/postgres?{parameters}", "DATABASE_PASSWORD": PASSWORD}
    producer = drover.popen("status", env=env)
    worker = drover.worker(env=env)
    for process in (producer, worker):
        process.wait_for_log('does not match host name "127.0.0.1"')
