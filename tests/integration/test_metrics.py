"""/metrics, /healthz and /readyz of a worker: what they tell, when, and what they make of clients that mean no good."""

import contextlib
import os
import random
import re
import socket
from pathlib import Path

import pytest

from lib.metrics import LISTEN, Served
from lib.process import wait_for
from lib.scenario import Gate, wait_for_state

DEFINED = Path(__file__).resolve().parents[2] / "common/metrics/metrics.def"


def table(pg, rows=400):
    pg.sql(f"CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, {rows}) g")


def migration(drover, lines="-- drover: set b = a", mode="batch", name="m"):
    return drover.migration(name, f"-- drover: table t\n-- drover: mode {mode}\n-- drover: batch-size 100\n{lines}\n")


@pytest.fixture
def served(drover):
    """A worker that serves, and is ready."""
    drover.run("init")
    process = drover.worker(*LISTEN)
    served = Served(process)
    served.process = process
    wait_for(lambda: served.get("/readyz")[0] == 200, lambda: f"it is ready: {served.get('/readyz')}")
    return served


# ------------------------------------------------------------ what it tells


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_jobs_and_rows_are_counted_by_what_became_of_them(pg, drover, served, mode):
    table(pg)
    pg.sql("UPDATE t SET a = 0 WHERE id IN (7, 250)")
    path = migration(drover, "-- drover: set b = 100 / a\n-- drover: pending b IS NULL", mode)
    drover.popen("produce", path, "--wait").wait(rc=4)
    assert served.value("drover_rows_total", migration="m", outcome="changed") == 398
    assert served.value("drover_rows_total", migration="m", outcome="dead") == 2
    assert served.value("drover_jobs_total", migration="m", outcome="dead") == 2
    done, split = (served.value("drover_jobs_total", migration="m", outcome=what) for what in ("done", "split"))
    if mode == "row":
        assert (done, split) == (398, 0)
    else:
        # Four batches; each split leaves four parts in the place of one.
        assert split > 0 and done == 4 + 3 * split - 2
    assert served.value("drover_errors_total", sqlstate="22012") >= 2
    metrics = served.metrics()
    count = metrics["drover_job_duration_seconds_count"][0][1]
    buckets = [(labels["le"], value) for labels, value in metrics["drover_job_duration_seconds_bucket"]]
    assert count > 0 and buckets[-1] == ("+Inf", count)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)


def test_conflicts_are_counted_as_retries_by_their_sqlstate(pg, drover, served):
    table(pg, 100)
    drover.run("init")
    drover.run("config", "backoff=0.1", "lock_timeout_ms=20")
    application = pg.conn(autocommit=False)
    application.execute("SELECT FROM t WHERE id = 7 FOR UPDATE")
    drover.run("produce", migration(drover))
    wait_for(lambda: (served.value("drover_retries_total", sqlstate="55P03") or 0) >= 2, "two attempts met the lock")
    application.rollback()
    wait_for(lambda: pg.value("SELECT count(*) FROM t WHERE b IS NULL") == 0, "all rows are migrated")


def test_the_fleets_figures_agree_with_status(pg, redis, drover, served):
    table(pg)
    gate = Gate(pg)
    drover.run("produce", migration(drover, "-- drover: set b = gate(a)\n-- drover: pending b IS NULL\n-- drover: lock-timeout 60"), "--full-speed")
    gate.wait(4)
    wait_for(lambda: served.value("drover_backlog_jobs", migration="m", state="leased") == 4, "the jobs are seen in Redis")
    assert served.value("drover_incomplete_batches", migration="m") == 4
    assert served.value("drover_migration_state", migration="m", state="running") == 1
    assert served.value("drover_migration_state", migration="m") == 1
    assert served.value("drover_lanes", state="busy") == 4 and served.value("drover_jobs_held", migration="m") == 4
    assert served.value("drover_workers", state="running") == 1
    gate.open()
    wait_for(lambda: served.value("drover_migration_state", migration="m", state="complete") == 1, "completion is told", 120)
    status = drover.run("status", "m", "--json").json
    status = status[0] if isinstance(status, list) else status
    assert served.value("drover_migration_changed_rows", migration="m") == 400
    assert served.value("drover_migration_progress_ratio", migration="m") == 1
    assert served.value("drover_failed_jobs", migration="m") == 0
    assert served.value("drover_incomplete_batches", migration="m") == 0
    assert served.value("drover_breaker_open", migration="m") == 0


def test_one_worker_of_a_fleet_tells_its_figures(pg, drover):
    drover.run("init")
    first, second = (Served(drover.worker("--name", name, *LISTEN)) for name in ("a", "b"))
    wait_for(lambda: first.value("drover_workers", state="running") == 2, "the first by name tells")
    wait_for(lambda: second.value("drover_workers") is None, "the second leaves it to it")
    drover.processes[0].kill()
    wait_for(lambda: second.value("drover_workers", state="lost") == 1, "the second takes over", 90)


def test_an_open_breaker_is_told(pg, drover, served):
    table(pg, 2000)
    pg.sql("ALTER TABLE t ADD CONSTRAINT never CHECK (b IS NULL)")
    drover.run("produce", migration(drover), rc=None)
    wait_for_state(pg, "m", "paused")
    wait_for(lambda: served.value("drover_breaker_open", migration="m") == 1, "the breaker is told")
    assert served.value("drover_migration_state", migration="m", state="paused") == 1
    assert served.value("drover_paused_by_itself", migration="m") == 1


def test_a_pause_that_nobody_asked_for_is_told_apart_from_an_operators(pg, drover, served):
    table(pg, 2000)
    path = migration(drover)
    drover.run("produce", path)
    drover.run("pause", "m")
    wait_for(lambda: served.value("drover_migration_state", migration="m", state="paused") == 1, "the operator's is told")
    assert served.value("drover_paused_by_itself", migration="m") == 0
    pg.sql("ALTER TABLE t DROP COLUMN b")
    drover.run("resume", "m")
    wait_for(lambda: served.value("drover_paused_by_itself", migration="m") == 1, "its own is told", 60)
    assert served.value("drover_breaker_open", migration="m") == 0


def test_a_migration_that_is_gone_is_dropped_from_the_fleets_figures(pg, drover, served):
    table(pg)
    finish_with(drover, migration(drover))
    wait_for(lambda: served.value("drover_migration_state", migration="m", state="complete") == 1, "it is told")
    pg.sql("UPDATE drover.migrations SET state_at = now() - interval '2 days'")
    wait_for(lambda: served.value("drover_migration_state", migration="m") is None, "it is not told any more")


def finish_with(drover, path):
    drover.popen("produce", path, "--wait").wait()


def test_a_name_may_hold_anything(pg, drover, served):
    table(pg)
    path = migration(drover, name="0001_a.b-c")
    finish_with(drover, path)
    assert served.value("drover_rows_total", migration="0001_a.b-c", outcome="changed") == 400


def test_every_metric_of_the_table_is_served(pg, drover, served):
    """Those that need a failure to appear are in the other tests."""
    table(pg)
    pg.sql("UPDATE t SET a = 0 WHERE id = 7")
    drover.popen("produce", migration(drover, "-- drover: set b = 100 / a\n-- drover: pending b IS NULL"), "--wait").wait(rc=4)
    defined = set(re.findall(r'^X\(\w+, "(\w+)"', DEFINED.read_text(), re.MULTILINE))

    def missing():
        told = {re.sub("_(bucket|sum|count)$", "", name) for name in served.metrics()}
        assert told <= defined
        return defined - told

    wait_for(lambda: missing() <= {"drover_retries_total"}, lambda: f"all are served; missing: {missing()}")


# ------------------------------------------------------------ healthz, readyz, the rest


def test_readyz_says_why_not_while_a_server_is_away(pg, redis, network, drover):
    drover.run("init")
    to_pg, to_redis = network(pg.server), network(redis)
    served = Served(drover.worker(*LISTEN, env={"DATABASE_URL": to_pg.url(pg.url), "REDIS_URL": to_redis.url(redis.url)}))
    wait_for(lambda: served.get("/readyz") == (200, "ready"), lambda: f"it is ready: {served.get('/readyz')}")
    for proxy, name, label in ((to_pg, "PostgreSQL", "postgres"), (to_redis, "Redis", "redis")):
        proxy.refuse()
        wait_for(lambda: served.get("/readyz")[0] == 503, f"{name} is missed")
        status, why = served.get("/readyz")
        assert status == 503 and why.startswith(f"{name} is away") and "\n" not in why
        assert served.value("drover_up", server=label) == 0
        assert served.get("/healthz") == (200, "alive")
        proxy.heal()
        wait_for(lambda: served.get("/readyz") == (200, "ready"), lambda: f"it is ready again: {served.get('/readyz')}")
        assert served.value("drover_connect_failures_total", server=label) > 0


def test_readyz_says_that_it_drains(pg, drover, served):
    table(pg, 10)
    gate = Gate(pg)
    drover.run("produce", migration(drover, "-- drover: set b = gate(a)\n-- drover: pending b IS NULL\n-- drover: lock-timeout 60"))
    gate.wait(1)
    served.process.terminate()
    wait_for(lambda: served.get("/readyz") == (503, "draining"), "it says so")
    assert served.get("/healthz") == (200, "alive") and served.value("drover_worker_state", state="draining") == 1
    gate.open()
    served.process.wait()


def test_without_a_schema_it_is_alive_and_not_ready(pg, drover):
    served = Served(drover.worker(*LISTEN))
    wait_for(lambda: "drover init" in served.get("/readyz")[1], lambda: f"it says what to do: {served.get('/readyz')}")
    assert served.get("/readyz")[0] == 503 and served.get("/healthz")[0] == 200
    assert served.value("drover_up", server="redis") == 1
    drover.run("init")
    wait_for(lambda: served.get("/readyz")[0] == 200, "it is ready")


def test_only_get_and_head_and_three_paths(served):
    for path in ("/", "/metrics/", "/../etc/passwd", "/metric", "/healthz/x"):
        assert served.get(path)[0] == 404
    assert served.get("/healthz?verbose=1")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
        status, headers, _ = served.request("/metrics", method)
        assert status == 405 and headers["Allow"] == "GET, HEAD"
    status, headers, body = served.request("/metrics", "HEAD")
    assert status == 200 and body == "" and int(headers["Content-Length"]) > 1000


def test_nobody_listens_unless_told_to(pg, drover):
    drover.run("init")
    worker = drover.worker()
    worker.wait_for_log("worker.ready")
    listening = [line.split()[9] for line in Path(f"/proc/{worker.pid}/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{worker.pid}/fd").iterdir()}
    assert not [inode for inode in listening if f"socket:[{inode}]" in inodes]
    assert "metrics.listening" not in worker.err


# ------------------------------------------------------------ where it listens


@pytest.mark.parametrize("where", ["x", "host", "host:", "1:2:3", "::1:80", "127.0.0.1:65536", "127.0.0.1:-1", "[::1]", "[]:80", ":x"])
def test_what_is_no_address_is_wrong_usage(drover, where):
    refused = drover.run_worker("--metrics-listen", where, rc=2)
    assert "--metrics-listen" in refused.err and "expected HOST:PORT" in refused.err and len(refused.err.splitlines()) == 1


def test_a_port_in_use_ends_it_with_what_to_do(served, drover):
    refused = drover.run_worker("--metrics-listen", f"127.0.0.1:{served.port}", rc=1)
    last = refused.err.splitlines()[-1]
    assert f"port {served.port}" in last and "another program does" in last and "ss -ltnp" in last


@pytest.mark.parametrize("host, why", [("192.0.2.1", "no such address"), ("no.such.host.invalid", "not known")])
def test_a_host_that_cannot_be_bound_ends_it(drover, host, why):
    refused = drover.run_worker("--metrics-listen", f"{host}:9464", rc=1)
    assert host in refused.err.splitlines()[-1] and why in refused.err.splitlines()[-1]


@pytest.mark.parametrize("where", ["0", ":0", "localhost:0", "*:0", "0.0.0.0:0"])
def test_an_address_may_be_short(pg, drover, where):
    process = drover.worker(env={"DROVER_METRICS_LISTEN": where})
    match = process.wait_for_log(r"metrics\.listening address=(\S+):(\d+)")
    if where in ("0", ":0"):
        assert match[1] == "127.0.0.1"
    # Of the addresses of a name one is taken: "localhost" may be ::1.
    with socket.create_connection(("::1" if match[1] == "[::1]" else "127.0.0.1", int(match[2])), 30) as s:
        s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"200 OK" in s.recv(1000)


# ------------------------------------------------------------ clients that mean no good


def talk(port, data, timeout_s=30):
    """Send it, and read until the end; what came back."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as s, contextlib.suppress(ConnectionError):
        s.sendall(data)
        with contextlib.suppress(OSError):  # it may have hung up already
            s.shutdown(socket.SHUT_WR)
        answer = b""
        while part := s.recv(65536):
            answer += part
        return answer
    return b""


NONSENSE = {
    "nothing": b"",
    "a line end": b"\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "another version": b"GET /metrics HTTP/9.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a huge header": b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "a huge path": b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "very many headers": b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(100_000)) + b"\r\n",
    "a body that never comes": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
    "a length that is none": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabc",
    "chunks": b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx",
    "a zero byte": b"GET /metrics\0/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "escapes": b"GET /%6d%65trics%zz%f%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    "two requests": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2,
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_gets_an_error_or_an_end(served, what):
    answer = talk(served.port, NONSENSE[what])
    status = int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else None
    if what == "two requests":
        assert answer.count(b"200 OK") == 1, "a connection is closed after its answer"
    elif what != "a zero byte":  # libmicrohttpd 0.9 takes it for the end of the path
        assert status is None or 400 <= status < 600, answer[:200]
    assert served.get("/healthz") == (200, "alive")


def test_huge_headers_make_nothing_grow(served):
    talk(served.port, NONSENSE["a huge header"])
    before = served.process.resident_kib()
    for _ in range(100):
        talk(served.port, NONSENSE["a huge header"])
    assert served.process.resident_kib() < before + 30_000


def test_random_bytes_and_broken_requests_do_no_harm(served):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    good = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n"
    for _ in range(300):
        request = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(request))
            request[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
        with socket.create_connection(("127.0.0.1", served.port), 60) as s, contextlib.suppress(ConnectionError):
            s.sendall(bytes(request[:rng.randrange(1, len(request) + 1)]))
    assert served.get("/healthz") == (200, "alive")


def test_slow_clients_are_cut_off_and_keep_nobody_out(served):
    """One sends a byte now and then, one reads nothing, one says nothing at all: for ten seconds each, whatever they do."""
    with contextlib.ExitStack() as stack:
        slow, mute, deaf = (stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 60)) for _ in range(3))
        deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        slow.settimeout(0.3)

        def is_cut():
            try:
                slow.sendall(b"X: y\r\n")
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_for(is_cut, "the slow one is cut off")
        assert mute.recv(1) == b""
    assert served.get("/healthz") == (200, "alive")


def test_many_connections_keep_nobody_out_and_are_bounded(served):
    served.get("/metrics")
    before = served.process.resident_kib()
    with contextlib.ExitStack() as stack:
        for i in range(600):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 60))
            with contextlib.suppress(ConnectionError):
                s.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (i % 7000))
        assert served.get("/healthz") == (200, "alive")
        assert wait_for(lambda: len(os.listdir(f"/proc/{served.process.pid}/fd")) < 100, "connections are bounded")
    assert served.process.resident_kib() < before + 30_000
    assert served.process.running


# ------------------------------------------------------------ the exporter


def test_the_exporter_tells_the_fleets_figures_without_workers(pg, redis, drover):
    table(pg)
    drover.run("produce", migration(drover))
    exporter = Served(drover.popen("exporter", *LISTEN))
    wait_for(lambda: exporter.get("/readyz") == (200, "ready"), lambda: f"it is ready: {exporter.get('/readyz')}")
    assert exporter.value("drover_incomplete_batches", migration="m") == 4
    assert exporter.value("drover_backlog_jobs", migration="m", state="ready") == 4
    assert exporter.value("drover_workers") == 0
    assert exporter.value("drover_build_info", program="exporter") == 1
    assert exporter.value("drover_rows_total") is None  # a worker's own
    redis.kill()
    wait_for(lambda: exporter.get("/readyz")[1].startswith("Redis: "), "Redis is missed")
    assert exporter.value("drover_up", server="redis") == 0 and exporter.value("drover_up", server="postgres") == 1
    assert exporter.value("drover_incomplete_batches", migration="m") == 4
    assert exporter.value("drover_backlog_jobs") is None


def test_the_exporter_needs_no_redis_and_only_a_readers_rights(pg, drover):
    table(pg)
    drover.run("produce", migration(drover))
    reader = pg.role("reader")
    drover.run("init", "--reader-role", reader)
    exporter = Served(drover.popen("exporter", *LISTEN, env={"REDIS_URL": None, "DATABASE_URL": pg.url_as(reader)}))
    wait_for(lambda: exporter.get("/readyz") == (200, "ready"), lambda: f"it is ready: {exporter.get('/readyz')}")
    assert exporter.value("drover_incomplete_batches", migration="m") == 4
    assert exporter.value("drover_up", server="redis") is None


def test_the_exporter_waits_for_a_server_that_is_away(own_pg_server, drover):
    database = own_pg_server.database()
    drover.env["DATABASE_URL"] = database.url
    drover.run("init")
    own_pg_server.stop()
    process = drover.popen("exporter", *LISTEN, env={"REDIS_URL": None})
    exporter = Served(process)
    wait_for(lambda: exporter.get("/readyz")[1].startswith("PostgreSQL: "), "it says so")
    assert exporter.value("drover_up", server="postgres") == 0 and exporter.get("/healthz")[0] == 200
    own_pg_server.start()
    wait_for(lambda: exporter.get("/readyz")[0] == 200, "it is back")
    own_pg_server.stop()
    wait_for(lambda: exporter.value("drover_workers") is None, "old figures are not told as new ones")
    process.terminate()
    process.wait()
    own_pg_server.start()


def test_the_exporter_refuses_what_waiting_does_not_mend(drover):
    assert "expected HOST:PORT" in drover.run("exporter", "--metrics-listen", "nowhere", rc=2).err
    assert "no such address" in drover.run("exporter", "--metrics-listen", "192.0.2.1:1", rc=1).err
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused = drover.run("exporter", "--metrics-listen", str(other.getsockname()[1]), rc=1)
    assert "another program does" in refused.err and len(refused.err.splitlines()) == 1
