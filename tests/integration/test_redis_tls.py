"""rediss://: certificates are checked, shown, and explained. Debian 12's hiredis has no TLS: there it is refused."""

import pytest

from lib.certificates import Authority
from lib.drover import Drover
from lib.process import free_port, wait_for
from lib.redis_server import Redis
from lib.scenario import finish
from lib.sentinel import NAME, Sentinel

MIGRATION = "-- drover: table t\n-- drover: set b = a\n"


def refusal():
    programs = Drover(redis_url="rediss://127.0.0.1:1")
    result = programs.run_worker("--max-time", "1", rc=None)
    programs.close()
    return result


has_tls = "needs a hiredis with TLS" not in refusal().err
needs_tls = pytest.mark.skipif(not has_tls, reason="this hiredis has no TLS")


@pytest.mark.skipif(has_tls, reason="this hiredis has TLS")
def test_without_tls_in_hiredis_it_is_refused_in_one_line(drover):
    result = refusal()
    assert result.rc == 1
    assert [line for line in result.err.splitlines() if "worker." not in line] == [
        "drover-worker: rediss:// needs a hiredis with TLS (1.0 or later), which this build does not have"]


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def table(pg):
    pg.sql("CREATE TABLE t (id bigint PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 3000) g")


def tls_args(authority, cert, key, port):
    return ["--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.ca]


@pytest.fixture
def tls_redis(authority):
    """Wants a client certificate; its own is for localhost."""
    cert, key = authority.issue("redis", "localhost")
    port = free_port()
    with Redis(args=tls_args(authority, cert, key, port)) as server:
        server.tls_port = port
        yield server


@pytest.fixture
def client(authority):
    cert, key = authority.issue("client")
    return f"cert={cert}&key={key}"


@needs_tls
@pytest.mark.parametrize("mode", ["batch", "row"])
def test_a_run_over_tls_with_a_client_certificate(pg, drover, table, authority, tls_redis, client, mode):
    drover.env["REDIS_URL"] = f"rediss://localhost:{tls_redis.tls_port}?cacert={authority.ca}&{client}"
    finish(drover, drover.migration("0001_b", MIGRATION), produce=["--mode", mode])
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


@needs_tls
@pytest.mark.parametrize("url, message", [
    ("rediss://127.0.0.1:{port}?cacert={ca}&{client}", "certificate is not accepted: IP address mismatch"),
    ("rediss://localhost:{port}?cacert={ca}&{client}&server_name=other", "certificate is not accepted: hostname mismatch"),
    ("rediss://localhost:{port}?{client}", "certificate is not accepted: (self-signed certificate in certificate chain"
                                           "|unable to get local issuer certificate)"),
    ("rediss://localhost:{port}?cacert={ca}", "(certificate required|handshake failure)"),
    ("rediss://localhost:{plain}?cacert={ca}", "(wrong version number|packet length too long|record layer failure|unexpected eof)"),
    ("redis://localhost:{port}", "(Server closed|reset by peer|Protocol error)"),
])
def test_what_is_wrong_is_one_clear_line_and_waited_for(drover, table, authority, tls_redis, client, url, message):
    with Redis(tcp=True) as plain:
        drover.env["REDIS_URL"] = url.format(port=tls_redis.tls_port, plain=plain.port, ca=authority.ca, client=client)
        drover.worker().wait_for_log(f"server.away .*{message}")
        drover.popen("produce", drover.migration("0001_b", MIGRATION)).wait_for_log(f"Redis is away.*{message}")


@needs_tls
def test_a_name_of_its_own_makes_up_for_another_address(pg, drover, table, authority, tls_redis, client):
    drover.env["REDIS_URL"] = f"rediss://127.0.0.1:{tls_redis.tls_port}?cacert={authority.ca}&{client}&server_name=localhost"
    finish(drover, drover.migration("0001_b", MIGRATION))
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


@needs_tls
@pytest.mark.parametrize("url, message", [
    ("rediss://h?cacert=/nowhere", "cannot set up TLS to Redis: the authorities in '/nowhere'"),
    ("rediss://h?cert=/nowhere&key=/nowhere", "cannot set up TLS to Redis: our certificate '/nowhere'"),
])
def test_files_that_are_missing_are_one_clear_line(pg, drover, table, url, message):
    env = {"REDIS_URL": url}
    for result in (drover.run_worker(env=env, rc=1), drover.run("produce", drover.migration("0001_b", MIGRATION), env=env, rc=1)):
        assert result.err.count(message) == 1, result


@needs_tls
def test_a_run_goes_on_when_connections_over_tls_are_lost(pg, drover, table, authority, tls_redis, client):
    drover.env["REDIS_URL"] = f"rediss://localhost:{tls_redis.tls_port}?cacert={authority.ca}&{client}"
    drover.run("config", "processing_interval_ms=20", "batch_size=30", "max_backlog=20")
    drover.worker()
    producer = drover.popen("produce", drover.migration("0001_b", MIGRATION), "--wait")
    for share in (600, 1200, 1800):
        wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") > share, "the run goes on")
        tls_redis.client().client_kill_filter(_type="normal", skipme=True)
    tls_redis.restart()
    producer.wait()
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0


@needs_tls
def test_sentinels_over_tls(pg, drover, table, authority):
    cert, key = authority.issue("both", "127.0.0.1")
    ports = free_port(), free_port()
    client = "cert={}&key={}".format(*authority.issue("client"))
    lines = {"tls-port": ports[1], "tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": authority.ca, "tls-replication": "yes"}
    with Redis(args=[*tls_args(authority, cert, key, ports[0]), "--tls-replication", "yes"]), Sentinel(settings=lines) as sentinel:
        sentinel.monitor(ports[0])
        drover.env["REDIS_URL"] = f"rediss+sentinel://127.0.0.1:{ports[1]}/{NAME}?cacert={authority.ca}&{client}"
        finish(drover, drover.migration("0001_b", MIGRATION))
    assert pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0
