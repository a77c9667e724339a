"""Whoever may write to Redis, names things, types nonsense or alters the ledger by hand: what they can do, and what they cannot."""

import json
import os
import re
from pathlib import Path

import pytest

from lib.drover import Drover, binaries
from lib.postgres import Postgres
from lib.process import wait_for
from lib.scenario import delayed, migration_id, queue, state, stream

ROWS = 200


# ------------------------------------------------------------ whoever can write to Redis


@pytest.fixture(scope="module")
def talking_server():
    """A PostgreSQL that writes down every statement."""
    with Postgres({"logging_collector": "on", "log_destination": "jsonlog", "log_directory": "statements", "log_filename": "log",
                   "log_statement": "all"}) as server:
        yield server


@pytest.fixture
def pg(request):
    if "talking_server" not in request.fixturenames:
        server = request.getfixturevalue("pg_server")
        server.start()
    else:
        server = request.getfixturevalue("talking_server")
    database = server.database()
    yield database
    database.drop()


def lanes_statements(pg):
    """Texts of all statements that workers' lanes ran in this database."""
    texts = set()
    for line in (pg.server.data / "statements/log.json").read_text().splitlines():
        entry = json.loads(line)
        found = re.fullmatch(r"(?:execute [^:]*|statement): (.*)", entry["message"], re.DOTALL)
        if found and entry.get("dbname") == pg.name and re.match(r"drover [^ ]+/\d", entry.get("application_name", "")):
            texts.add(found[1])
    return texts


def known_statements(pg):
    """What a lane may run: what stands in the program, and in the plans that are registered."""
    program = (binaries() / "drover-worker").read_bytes()
    plans = [json.loads(row[0]) for row in pg.sql("SELECT plan::text FROM drover.migrations")]
    planned = {step["sql"] for plan in plans for script in plan["scripts"].values() for step in script}
    planned |= {sql for plan in plans for sql in plan["statements"].values()}

    def is_known(text):
        settings = re.fullmatch(r"SELECT (pg_catalog\.set_config\(\$\d+, \$\d+, true\)(, )?)+", text)
        return text in planned or settings or text.encode() in program

    return is_known


def pack(*items):
    """msgpack, as much of it as payloads use."""
    out = bytes([0x90 + len(items)])
    for item in items:
        if isinstance(item, tuple):
            out += pack(*item)
        elif isinstance(item, int):
            out += b"\xd3" + item.to_bytes(8, "big", signed=True)
        else:
            text = item.encode() if isinstance(item, str) else item
            out += b"\xdb" + len(text).to_bytes(4, "big") + text
    return out


class Victim:
    """A migration whose jobs lie in Redis, beside another one that is paused; what they may change, and what not."""

    def __init__(self, pg, drover, redis, mode):
        self.pg, self.drover = pg, drover
        pg.sql(f"""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
                   INSERT INTO t SELECT g FROM generate_series(1, {ROWS}) g;
                   CREATE TABLE other (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
                   INSERT INTO other SELECT g FROM generate_series(1, {ROWS}) g""")
        directives = f"-- drover: ledger\n-- drover: mode {mode}\n-- drover: batch-size 20\n-- drover: set n = n + 1\n"
        self.path = drover.migration("m", f"-- drover: table t\n{directives}")
        other = drover.migration("o", f"-- drover: table other\n{directives}")
        queue(drover, self.path, other)
        drover.run("pause", "o")
        # Rows that nobody asked to be changed: written after the scan.
        pg.sql("INSERT INTO t (id, n) VALUES (-5, 100), (5000, 100), (6000, 100)")
        self.client = redis.client(decode_responses=False)
        self.jobs, self.delayed = stream(pg, "m"), delayed(pg, "m")
        self.marker = self.jobs.removesuffix("jobs") + "marker"
        self.others = migration_id(pg, "o")
        self.numbers = [row[0] for row in pg.sql("SELECT number FROM drover.batches WHERE migration_id = %s", (migration_id(pg, "m"),))]
        self.other_numbers = [row[0] for row in pg.sql("SELECT number FROM drover.batches WHERE migration_id = %s", (self.others,))]

    def payloads(self):
        return [fields[b"j"] for _, fields in self.client.xrange(self.jobs)]

    def finish(self, timeout_s=60):
        """To its end, without a hand; then everything is as if nobody had been there."""
        worker = self.drover.worker("--lease", "3", "--concurrency", "2", "--name", "w")
        self.drover.run("produce", self.path, "--wait", timeout_s=timeout_s)
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker.pid}/status").read_text())[1])
        worker.terminate()
        worker.wait()
        assert self.pg.sql("SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(1, ROWS), (100, 3)]
        assert self.pg.value("SELECT count(*) FROM other WHERE n = 0") == ROWS
        assert self.pg.value("SELECT count(*) FROM t WHERE note IS NOT NULL") == 0
        assert self.pg.value("SELECT count(*) FROM drover.failed_jobs WHERE migration_id = %s",
                             (migration_id(self.pg, "m"),)) == 0
        assert state(self.pg, "m")[0] == "complete" and state(self.pg, "o")[0] == "paused"
        unknown = [text for text in lanes_statements(self.pg) if not known_statements(self.pg)(text)]
        assert lanes_statements(self.pg) and not unknown
        return worker, peak


EVIL = "'; UPDATE t SET note = 'broken out' --"


def payload_zoo(v):
    """Payloads of every form and number."""
    mine, theirs, most = v.numbers[0], v.other_numbers[0], 2**63 - 1
    zoo = [pack(1, kind, number) for kind in "BLF" for number in (0, -1, 1, mine, theirs, most, 10**12)]
    zoo += [pack(1, "R", number, (key,)) for number in (mine, theirs, most, -1)
            for key in ("5000", "-5", "1", EVIL, "", "null", "99999999999999999999", "1.5", " 1", "1e0", "\u202e", "x" * 60000)]
    zoo += [pack(1, "R", mine, ("1",) * n) for n in (0, 2, 4, 5, 15)]
    zoo += [pack(1, "R", mine, (key,)) for key in (b"\xff\xfe", b"1\x00", b"\x00")]
    zoo += [pack(version, "B", mine) for version in (0, 2, -1, most)] + [pack(2, "B", mine, ("new",)), pack(1, "Z", mine)]
    zoo += [b"\x93\x01\xa1B\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", b"\x93\x01\xa1B\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"]  # 1.0, NaN
    zoo += [b"", b"\x00", b"\xc0", b"\x91" * 60000, b"\x94\x01\xa1R\x01\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", EVIL.encode(),
            b"redis.call('flushall')", b"}]]; os.execute('x') --", b"$1", b"%s%n", bytes(range(256))]
    for payload in zoo:
        v.client.xadd(v.jobs, {"j": payload})
        v.client.zadd(v.delayed, {payload: 0})


def delayed_scores(v):
    """The real jobs, taken out of the stream and put off for ever; and garbage of every score."""
    for (entry, fields), score in zip(v.client.xrange(v.jobs), ["inf", 1e308, 9e15, "-inf", -1] * ROWS):
        v.client.xdel(v.jobs, entry)
        v.client.execute_command("ZADD", v.delayed, score, fields[b"j"])
    for score in ("inf", "-inf", 0, 1e300):
        v.client.execute_command("ZADD", v.delayed, score, f"garbage {score}")


def many_garbage_entries(v):
    pipe = v.client.pipeline(transaction=False)
    for n in range(20000):
        pipe.xadd(v.jobs, {"j": b"\x93" + str(n).encode()} if n % 2 else {"field": n, "": "", EVIL: EVIL})
        if n % 4 == 0:
            pipe.zadd(v.delayed, {f"garbage {n}": n})
    pipe.execute()
    v.client.xadd(v.jobs, {f"field {n}": n for n in range(200000)})


def stream_is_a_string(v):
    v.client.set(v.jobs, EVIL)


def stream_is_a_list(v):
    v.client.delete(v.jobs)
    v.client.rpush(v.jobs, *range(1000))


def delayed_is_a_list(v):
    v.client.delete(v.delayed)
    v.client.rpush(v.delayed, "x")


def marker_is_a_hash(v):
    v.client.delete(v.marker)
    v.client.hset(v.marker, "x", "y")
    for entry, _ in v.client.xrange(v.jobs):
        v.client.xdel(v.jobs, entry)


def marker_says_that_all_was_pushed(v):
    v.client.set(v.marker, "9223372036854775807")
    v.client.delete(v.jobs)


def group_starts_at_the_end(v):
    v.client.xgroup_setid(v.jobs, "workers", "$")


def group_was_destroyed_and_made_anew_at_the_end(v):
    v.client.xgroup_destroy(v.jobs, "workers")
    v.client.xgroup_create(v.jobs, "workers", id="$")


def no_id_is_left_in_the_stream(v):
    v.client.xadd(v.jobs, {"j": "last"}, id="18446744073709551615-18446744073709551615")


def a_consumer_that_takes_all(v):
    """With counts of deliveries that say: poison."""
    v.client.xreadgroup("workers", "evil \x1b[31m'\n", {v.jobs: ">"}, count=100000)
    entries = [entry for entry, _ in v.client.xrange(v.jobs)]
    v.client.execute_command("XCLAIM", v.jobs, "workers", "evil2", 0, *entries, "RETRYCOUNT", 2**62, "IDLE", 0)
    v.client.xreadgroup("workers", "w", {v.jobs: ">"})  # a consumer of the worker's own name


def every_job_a_hundred_times(v):
    for payload in v.payloads():
        for _ in range(100 if len(v.payloads()) < 50 else 3):
            v.client.xadd(v.jobs, {"j": payload})


def a_huge_field(v):
    """More than any job of ours, and than the worker wants to hold."""
    v.client.xadd(v.jobs, {"j": b"x" * (200 << 20)})


def a_huge_member(v):
    v.client.zadd(v.delayed, {b"x" * (200 << 20): 0})


def keys_of_workers(v):
    """What says that a worker is alive, in another type; and one that never was."""
    installation = v.pg.value("SELECT installation FROM drover.meta")
    v.client.rpush(f"drover:{installation}:worker:w", "x")
    v.client.set(f"drover:{installation}:worker:{EVIL}", EVIL)
    v.client.set(f"drover:{{{installation}:99999}}:jobs", "x")


ATTACKS = [payload_zoo, delayed_scores, many_garbage_entries, stream_is_a_string, stream_is_a_list, delayed_is_a_list, marker_is_a_hash,
           marker_says_that_all_was_pushed, group_starts_at_the_end, group_was_destroyed_and_made_anew_at_the_end,
           no_id_is_left_in_the_stream, a_consumer_that_takes_all, every_job_a_hundred_times, a_huge_field, a_huge_member, keys_of_workers]


@pytest.mark.parametrize("mode", ["batch", "row"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_who_can_write_to_redis_runs_no_sql_and_changes_no_other_row(talking_server, pg, drover, redis, mode, attack):
    """Nor does the run need a hand: it ends, with every row changed once."""
    victim = Victim(pg, drover, redis, mode)
    attack(victim)
    worker, peak_kib = victim.finish()
    said = [line for line in worker.err.splitlines() if " warn " in line or " error " in line]
    assert len(said) < 25, said
    assert all(line.isprintable() for line in worker.err.splitlines())
    assert "broken out" not in worker.out
    if not os.environ.get("ASAN_OPTIONS", "").count("quarantine") and "asan" not in _linked(drover):
        assert peak_kib < 128 << 10


def _linked(drover):
    return "asan" if b"__asan_init" in (binaries() / "drover-worker").read_bytes() else ""
