"""No floods: while a server is away, or answers nonsense, every program waits with back-off, says so once, and goes on by itself."""

import re
import selectors
import socket
import threading
import time

import psycopg
import pytest

from lib.drover import Drover
from lib.process import wait_for
from lib.redis_server import Redis

OUTAGE_S = 4
CPU_S = 1.0  # of each program over the outage; a busy loop would use all of it, even under a sanitizer
WORK = re.compile(r"^[mr] +\d| throttle\.(begin|signal|end) ")  # what is said of the work itself
CONNECTS = 14  # of each connection that is wanted: back-off from 100 ms to 5 s


class Impostor:
    """Listens in a server's place. What it says to whom connects, and again to whatever is asked; None: nothing. Counts connects."""

    def __init__(self, path, hello=None, answer=None, close=False):
        self.hello, self.answer, self.close = hello, answer, close
        self.connects = 0
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        path.chmod(0o777)
        self.listener.listen(50)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over.is_set():
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.reply(key.fileobj)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()

    def accept(self):
        client = self.listener.accept()[0]
        self.connects += 1
        if self.hello:
            client.sendall(self.hello)
        if self.close:
            client.close()
        else:
            self.selector.register(client, selectors.EVENT_READ)

    def reply(self, client):
        try:
            asked = client.recv(65536)
            if asked and self.answer:
                client.sendall(self.answer)
        except OSError:
            asked = b""
        if not asked or (self.answer and self.answer[:1] == b"E"):
            self.selector.unregister(client)
            client.close()

    def stop(self, path):
        self.over.set()
        self.thread.join()
        path.unlink(missing_ok=True)


def refusal(sqlstate, text):
    """PostgreSQL's ErrorResponse."""
    fields = b"".join(k + v.encode() + b"\0" for k, v in [(b"S", "FATAL"), (b"V", "FATAL"), (b"C", sqlstate), (b"M", text)]) + b"\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.fixture
def own(own_pg_server):
    """Programs in the middle of their work, with servers of their own."""
    with Redis(persistent=True) as redis:
        pg = own_pg_server.database()
        programs = Drover(pg.url, redis.url)
        programs.pg, programs.redis = pg, redis
        yield programs
        programs.close()


class Fleet:
    """A worker, a producer that waits, and `drover run`, each with migrations that last."""

    def __init__(self, own):
        self.own = own
        own.pg.sql("""CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 3000) g;
                      CREATE TABLE u (LIKE t INCLUDING ALL); INSERT INTO u SELECT * FROM t""")
        own.run("init")
        own.run("config", "max_rows_per_s=50")
        text = "-- drover: table {}\n-- drover: ledger\n-- drover: set n = n + 1\n-- drover: batch-size 10\n"
        self.producer = own.popen("produce", own.migration("m", text.format("t")), "--wait")
        self.worker = own.worker("--concurrency", "2", "--migration", "m")
        # One worker: of two, the second may still be about to begin, and who begins without a right password ends.
        self.runner = own.popen("run", own.migration("r", text.format("u")), "--workers", "1")
        self.programs = [self.producer, self.worker, self.runner]
        wait_for(lambda: own.pg.value("SELECT count(*) FROM drover.migrations WHERE EXISTS (SELECT FROM drover.batches b "
                                      "WHERE b.migration_id = id AND b.state = 'done')") == 2, "all are at work")
        self.said = [len(p.err) for p in self.programs]
        self.before = [p.cpu_s() for p in self.programs]

    def watch(self, seconds=OUTAGE_S, least=1):
        """CPU seconds of each and what each says, while something is wrong for so long; since they were at work.

        least: lines of each; 0 where only a deadline tells, or nothing is refused that it wants.
        """
        time.sleep(seconds)  # the outage itself
        self.cpu = [p.cpu_s() - c for p, c in zip(self.programs, self.before)]
        self.lines = [[line for line in p.err[n:].splitlines() if line and not WORK.search(line)] for p, n in zip(self.programs, self.said)]
        print("cpu", [f"{c:.2f}" for c in self.cpu], "lines", [len(lines) for lines in self.lines])
        for lines in self.lines:
            print("\n".join(lines))
        assert all(p.running for p in self.programs), self.programs
        assert max(self.cpu) < CPU_S, self.cpu
        assert max(map(len, self.lines)) <= 6, self.lines
        assert min(map(len, self.lines)) >= least, self.lines

    def finish(self):
        """Everything goes on by itself, and each row was changed once."""
        wait_for(lambda: self.own.run("config", "max_rows_per_s=0", rc=None).rc == 0, "settings can be written")
        self.producer.wait(120)
        self.runner.wait(120)
        for table in "tu":
            assert self.own.pg.sql(f"SELECT n, count(*) FROM {table} GROUP BY 1") == [(1, 3000)]
        assert self.own.pg.value("SELECT count(*) FROM drover.failed_jobs") == 0
        assert self.own.pg.value("SELECT count(*) FROM drover.events WHERE action = 'pause'") == 0
        self.worker.terminate()
        self.worker.wait()


POSTGRES = {
    "refuses": None,
    "closes at once": {"close": True},
    "is silent": {},
    "talks nonsense": {"hello": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
    "has too many clients": {"answer": refusal("53300", "sorry, too many clients already")},
    "is starting up": {"answer": refusal("57P03", "the database system is starting up")},
}


@pytest.mark.parametrize("how", POSTGRES)
def test_a_postgresql_that_is_away(own, own_pg_server, how):
    fleet = Fleet(own)
    own_pg_server.stop("immediate")
    impostor = Impostor(own_pg_server.socket, **POSTGRES[how]) if POSTGRES[how] is not None else None
    try:
        fleet.watch()
        if impostor:
            print("connects", impostor.connects)
            assert 0 < impostor.connects < CONNECTS * 12  # connections of all together
    finally:
        if impostor:
            impostor.stop(own_pg_server.socket)
    own_pg_server.start()
    fleet.finish()


REDIS = {
    "refuses": None,
    "closes at once": {"close": True},
    "is silent": {},
    "talks nonsense": {"hello": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
    "is loading": {"answer": b"-LOADING Redis is loading the dataset in memory\r\n"},
    "wants a password": {"answer": b"-NOAUTH Authentication required.\r\n"},
}


@pytest.mark.parametrize("how", REDIS)
def test_a_redis_that_is_away(own, how):
    fleet = Fleet(own)
    own.redis.kill()
    impostor = Impostor(own.redis.socket, **REDIS[how]) if REDIS[how] is not None else None
    try:
        fleet.watch(least=0 if how == "is silent" else 1)
        if impostor:
            print("connects", impostor.connects)
            assert 0 < impostor.connects < CONNECTS * 14
    finally:
        if impostor:
            impostor.stop(own.redis.socket)
    own.redis.start()
    fleet.finish()


def test_both_away(own, own_pg_server):
    fleet = Fleet(own)
    own.redis.kill()
    own_pg_server.stop("immediate")
    fleet.watch()
    own_pg_server.start()
    own.redis.start()
    fleet.finish()


TROUBLES = {  # what is wrong with a Redis that answers, and how it is mended
    "read only": (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "cut off from its master": (["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
    "out of memory": (["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
    "asking for a password": (["CONFIG SET requirepass secret", "CLIENT KILL TYPE normal SKIPME yes"], ["CONFIG SET requirepass ''"]),
}


@pytest.mark.parametrize("what", TROUBLES)
def test_a_redis_that_is_there_and_refuses(own, what):
    fleet = Fleet(own)
    client = own.redis.client()
    for command in TROUBLES[what][0]:
        client.execute_command(*command.split())
    fleet.watch(least=0)
    for command in TROUBLES[what][1]:
        client.execute_command(*[word.strip("'") for word in command.split()])
    fleet.finish()


def test_a_redis_busy_with_a_script(own):
    fleet = Fleet(own)
    client = own.redis.client()
    client.config_set("busy-reply-threshold", 100)
    busy = threading.Thread(target=lambda: pytest.raises(Exception, own.redis.client().eval, "while true do end", 0), daemon=True)
    busy.start()
    fleet.watch()
    client.script_kill()
    busy.join()
    fleet.finish()


def test_a_password_changed_in_the_middle(own, own_pg_server):
    """One clear line that the server refuses us, and on with the work when the password is right again."""
    own.pg.sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'hunter2'")
    hba = own_pg_server.data / "pg_hba.conf"
    hba.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    own.pg.sql("SELECT pg_reload_conf()")
    own.env["DATABASE_URL"] = own.pg.url_as("app")
    own.env["PGPASSWORD"] = "hunter2"
    fleet = Fleet(own)
    own.pg.sql("ALTER ROLE app PASSWORD 'hunter3'")
    own.pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    fleet.watch()
    wait_for(lambda: all("password authentication failed" in program.err for program in fleet.programs), "each says why it is refused")
    assert not any("hunter" in program.err + program.out for program in fleet.programs)
    own.pg.sql("ALTER ROLE app PASSWORD 'hunter2'")
    fleet.finish()


def test_too_many_connections_are_waited_for(own, own_pg_server):
    """Somebody else has taken every connection; a limit of the role does the same."""
    # Rights of its own as well: a session may still be at work when its role is no superuser any more.
    own.pg.sql("CREATE ROLE app LOGIN SUPERUSER; GRANT pg_read_all_data, pg_write_all_data TO app")
    own.env["DATABASE_URL"] = own.pg.url_as("app")
    fleet = Fleet(own)
    own.pg.sql("ALTER ROLE app NOSUPERUSER CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        own.pg.conn(user="app")
    fleet.watch()
    own.pg.sql("ALTER ROLE app SUPERUSER CONNECTION LIMIT -1")
    fleet.finish()
