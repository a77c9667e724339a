"""Whoever may write to Redis, names things, types nonsense or alters the ledger by hand: what they can do, and what they cannot."""

import json
import os
import re
from pathlib import Path

import pytest

from lib.drover import binaries
from lib.postgres import Postgres
from lib.process import wait_for
from lib.scenario import delayed, migration_id, queue, state, stream, wait_for_state

ROWS = 200


def is_harmless(text):
    """Nothing that a terminal obeys, and no line that one did not end oneself."""
    return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)


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
    zoo += [pack(1, "R", number, ("1",), place) for number in (mine, theirs) for place in (0, -1, -most - 1, 1, 2, most - 1, most, most)]
    zoo += [pack(1, "R", mine, (key,), place) for key in ("5000", "NaN", EVIL) for place in range(1, 33)]
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
    assert is_harmless(worker.err)
    if b"__asan_init" not in (binaries() / "drover-worker").read_bytes():
        assert peak_kib < 640 << 10  # what stands in Redis as one piece is read as one


def test_the_user_of_redis_that_the_manual_gives_is_enough(pg, drover, redis):
    redis.client().execute_command("ACL", "SETUSER", "drover", "on", ">pw", "~drover:*", "+@all", "-@dangerous", "+info")
    drover.env["REDIS_URL"] = f"unix://drover:pw@{redis.socket}"
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g")
    worker = drover.worker()
    drover.run("produce", drover.migration("m", "-- drover: table t\n-- drover: mode row\n-- drover: set b = a\n"), "--wait")
    for words in (["status"], ["workers"], ["monitor"], ["verify", "m"], ["clear", "m", "--yes"]):
        assert "NOPERM" not in drover.run(*words, rc=None).err
    assert "NOPERM" not in worker.err


# ------------------------------------------------------------ whoever names things and writes values

HARMFUL = "\x1b[31m\x1b]0;x\x07\n\r\t\x7f\u009b31m\u2028\u202e'\"\\;--$$%s%n{\u05d0}\U0001f600"
NAMES = {"ansi": "a\x1b[2J\x1b]0;pwned\x07b", "lines": "a\tb\u2028c\x0bd", "bidi": "x\u202etxt.exe\u2066", "emoji": "\U0001f600" * 15, "dollar": "$$a$_$%s%n"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_names_and_values_hold_reaches_neither_terminal_nor_log(pg, drover, name):
    """Console, worker's log and JSON, for a table of an evil name whose rows fail with evil messages under evil keys."""
    quoted = '"' + name.replace('"', '""') + '"'
    pg.sql(f"CREATE TABLE {quoted} (id text PRIMARY KEY, a text, {quoted} text)")
    pg.sql(f"INSERT INTO {quoted.replace('%', '%%')} VALUES (%s, %s, NULL), ('good', 'good', NULL)", (HARMFUL, HARMFUL))
    pg.sql(f"""CREATE FUNCTION check_it() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
                 IF NEW.a <> 'good' THEN RAISE check_violation USING MESSAGE = NEW.a, DETAIL = NEW.a, HINT = NEW.a; END IF;
                 RETURN NEW; END $f$;
               CREATE TRIGGER check_it BEFORE UPDATE ON {quoted} FOR EACH ROW EXECUTE FUNCTION check_it()""")
    path = drover.migration("m", f"-- drover: table {quoted}\n-- drover: set {quoted} = a\n")
    produced = drover.popen("produce", path, "--wait", "--actor", HARMFUL)
    worker = drover.worker("--log-level", "debug")
    json_worker = drover.worker("--log-level", "debug", "--log-format", "json", "--name", HARMFUL[:20])
    produced.wait(rc=4)
    drover.run("pause", "m", "--actor", HARMFUL)
    shown = [drover.run(*words, rc=None) for words in
             (["status"], ["status", "m"], ["failed"], ["failed", "--group"], ["failed", "show", "1"], ["events", "m"], ["workers"],
              ["verify", "m"], ["retry", "1", "--yes"], ["monitor"], ["failed", "--error", HARMFUL], ["status", HARMFUL])]
    for result in shown:
        assert is_harmless(result.out) and is_harmless(result.err), result
        assert result.rc in (0, 1, 2, 3, 4), result
        as_json = drover.run(*result.argv[1:], "--json", rc=None)
        assert is_harmless(as_json.out) and is_harmless(as_json.err), as_json
        json.loads(as_json.out or as_json.err.splitlines()[-1])
    assert is_harmless(produced.out + produced.err)
    for process in (worker, json_worker):
        process.terminate()
        process.wait()
        assert is_harmless(process.err)
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info |warn |error) [a-z_.]+", line) for line in worker.err.splitlines())
    assert all("event" in json.loads(line) for line in json_worker.err.splitlines())
    assert json.loads(drover.run("failed", "show", "1", "--json").out)["key"] == [HARMFUL]


# ------------------------------------------------------------ secrets

SECRET = "s3cret/W0rd@:'\\ %"


def encoded(text):
    return "".join(c if c.isalnum() else f"%{ord(c):02x}" for c in text)


@pytest.fixture
def guarded():
    """A role with a password, in a server that asks for it."""
    with Postgres({"password_encryption": "scram-sha-256"}) as server:
        server.sql("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 's3cret/W0rd@:''\\ %'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("local all keeper scram-sha-256\nlocal all all trust\n")
        server.reload()
        yield server


WAYS = {
    "uri": lambda s: {"DATABASE_URL": f"postgresql://keeper:{encoded(SECRET)}@/postgres?host={s.dir}"},
    "conninfo": lambda s: {"DATABASE_URL": f"host={s.dir} user=keeper dbname=postgres password='s3cret/W0rd@:\\'\\\\ %'"},
    "parameter": lambda s: {"DATABASE_URL": f"postgresql:///postgres?host={s.dir}&user=keeper&password={encoded(SECRET)}"},
    "environment": lambda s: {"DATABASE_URL": f"postgresql:///postgres?host={s.dir}&user=keeper", "PGPASSWORD": SECRET},
}


def titles():
    """Command lines of all processes that can be seen, but the tests' own."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                found.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_password_shows_nowhere(guarded, redis, drover, way):
    """Neither in logs at their loudest, process titles, output, nor in what the database and its activity view keep."""
    redis.client().config_set("requirepass", "r3disSecret")
    env = {**WAYS[way](guarded), "REDIS_URL": f"unix://:r3disSecret@{redis.socket}"}
    guarded.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 2000) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = a\n")
    drover.env.update(env)
    flags = ["--database-url", env["DATABASE_URL"], "--redis-url", env["REDIS_URL"]]
    worker = drover.worker("--log-level", "debug", *flags)
    seen = [drover.run("produce", path, "--wait", "-v", *flags)]
    at_work = titles()
    seen += [drover.run(*words, rc=None) for words in
             (["status", "-v"], ["workers", "--json"], ["events", "m", "--json"], ["verify", "m"], ["monitor"])]
    activity = str(guarded.sql("SELECT application_name, query FROM pg_stat_activity"))
    kept = all_that_is_kept(guarded)
    wrong = {"DATABASE_URL": env["DATABASE_URL"].replace("keeper", "nobody"), "REDIS_URL": env["REDIS_URL"] + "x"}
    seen += [drover.run("status", rc=None, env=wrong), drover.run("retry", "all", "--yes", rc=None, env=wrong)]
    worker.terminate()
    worker.wait()
    everything = "".join(r.out + r.err for r in seen) + worker.out + worker.err + activity + kept
    for secret in ("s3cret", "W0rd", "r3disSecret", encoded(SECRET)):
        assert secret not in everything
        assert not [title for title in at_work if secret.encode() in title and b"redis-server" not in title]


def all_that_is_kept(server):
    """All that Drover keeps in the database."""
    tables = [row[0] for row in server.sql("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'drover'")]
    return "".join(str(server.sql(f"SELECT t::text FROM {table} t")) for table in tables)


def test_what_run_starts_shows_no_password(guarded, drover):
    """`run` starts a Redis and workers of its own: neither their titles nor their logs have it."""
    guarded.sql("""CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 300) g;
                   CREATE FUNCTION slow(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 FROM pg_sleep(0.01)'""")
    path = drover.migration("m", "-- drover: table t\n-- drover: set b = slow(a)\n-- drover: pending b IS NULL\n-- drover: batch-size 20\n")
    run = drover.popen("run", path, "--database-url", WAYS["uri"](guarded)["DATABASE_URL"], env={"REDIS_URL": None, "DATABASE_URL": None})
    wait_for(lambda: guarded.sql("SELECT count(*) FROM t WHERE b IS NOT NULL")[0][0] > 0, "it works")
    at_work = titles()
    result = run.wait()
    for secret in ("s3cret", "W0rd", encoded(SECRET)):
        assert secret not in result.out + result.err
        assert not [title for title in at_work if secret.encode() in title]


# ------------------------------------------------------------ an operator who types nonsense

NONSENSE = ["-1", " ", "1e9", "99999999999999999999", "NaN", "\x1b[31m", "\u202e", "%s%n", "a" * 5000, "1\n2", "0x10", "'; DROP TABLE t --"]


def is_one_line(text):
    return is_harmless(text) and text.endswith("\n") and text.count("\n") == 1


def options_of(drover, command):
    """Those with a value that is checked."""
    text = drover.run("help", command).out
    return re.findall(r"^ +(?:-\w, )?(--[a-z-]+) (?:N|S|RATE|A-B|MODE|STATE|SIZE|PERCENT)\b", text, re.MULTILINE)


@pytest.mark.parametrize("command", ["produce", "run", "failed", "retry", "status", "verify", "prune", "monitor", "workers"])
def test_nonsense_as_an_options_value_is_one_clear_line(pg, drover, command):
    for option in options_of(drover, command):
        for value in NONSENSE:
            result = drover.run(command, f"{option}={value}", rc=None)
            assert result.rc in (1, 2) and is_one_line(result.err), result


def test_nonsense_to_the_worker_is_one_clear_line(pg, drover):
    for option in ("--concurrency", "--lease", "--tries", "--backoff", "--timeout", "--max-jobs", "--max-time", "--drain-timeout",
                   "--log-format", "--log-level"):
        for value in NONSENSE:
            assert is_one_line(drover.run_worker(f"{option}={value}", rc=2).err)


def test_what_is_no_migration_file_is_one_clear_error(pg, drover):
    """Of any size, without reading it whole or waiting for a writer."""
    files = {name: drover.dir / f"{name}.sql" for name in ("sparse", "binary", "folder", "fifo", "loop", "gone", "empty", "null")}
    with open(files["sparse"], "wb") as f:
        f.truncate(1 << 30)
    files["binary"].write_bytes((binaries() / "drover").read_bytes()[:100000])
    files["folder"].mkdir()
    os.mkfifo(files["fifo"])
    files["loop"].symlink_to(files["loop"])
    files["empty"].touch()
    files["null"].symlink_to("/dev/zero")
    for name, path in files.items():
        result = drover.run("produce", path, rc=1, timeout_s=60)
        assert result.err.count("\n") <= 12 and is_harmless(result.err) and name in result.err, result


# ------------------------------------------------------------ a ledger altered by hand

LIES = {
    "plan is no JSON object": "UPDATE drover.migrations SET plan = '[1, 2]'",
    "plan of another version": "UPDATE drover.migrations SET plan = jsonb_set(plan, '{version}', '99')",
    "plan without a script": "UPDATE drover.migrations SET plan = plan #- '{scripts,range}'",
    "plan with a number for SQL": "UPDATE drover.migrations SET plan = jsonb_set(plan, '{scripts,range,0,sql}', '7')",
    "plan of a huge key": "UPDATE drover.migrations SET plan = jsonb_set(plan, '{key}', (SELECT jsonb_agg(g) FROM generate_series(1, 99) g))",
    "setting of no value": "UPDATE drover.migrations SET options = '{\"tries\": \"many\"}'",
    "captured settings no object": "UPDATE drover.migrations SET settings = '\"x\"'",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_ledger_altered_by_hand_runs_nothing_and_is_said_once(pg, drover, lie):
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g")
    queue(drover, drover.migration("m", "-- drover: table t\n-- drover: set b = a\n"))
    with pg.conn() as conn:
        conn.execute("SET session_replication_role = replica")
        try:
            conn.execute(lie)
        except Exception as refused:  # a constraint or a column's type: better still
            assert "drover" in str(refused) or "column" in str(refused), refused
            return
    worker = drover.worker("--log-level", "info")
    worker.wait_for_log(r" (warn |error) .*cause=")
    for words in (["status"], ["status", "m"], ["failed"], ["events", "m"], ["config", "m"], ["verify", "m"], ["monitor"]):
        result = drover.run(*words, rc=None)
        assert result.rc in (0, 1, 3) and len(result.err.splitlines()) <= 1, result
    assert worker.running and pg.value("SELECT count(*) FROM t WHERE b IS NOT NULL") == 0
    said = [line for line in worker.err.splitlines() if re.search(" (warn |error) ", line)]
    assert len(said) < 10, said


def test_settings_altered_by_hand_pause_the_migration_with_the_reason(pg, drover):
    """What was asked for is not known, and the defaults may be too much."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 100) g")
    queue(drover, drover.migration("m", "-- drover: table t\n-- drover: set b = a\n"))
    pg.sql("""UPDATE drover.migrations SET options = '{"tries": "many"}'""")
    worker = drover.worker()
    assert "tries" in wait_for_state(pg, "m", "paused")
    assert "drover config m" in drover.run("status", "m").out
    drover.run("config", "m", "tries=3")
    drover.run("resume", "m")
    wait_for(lambda: state(pg, "m")[0] == "complete", lambda: f"{state(pg, 'm')}; {worker!r}")
    assert worker.err.count("settings.refused") == 1
