"""What a worker asks of its servers while nothing can be done, or there is nothing to do: no more than it needs."""

from lib.process import wait_for
from lib.scenario import finish, queue, state, stream

LEASE = ["--lease", "3"]
LEDGER = "-- drover: ledger\n-- drover: set n = n + 1\n-- drover: batch-size 1\n"


def table(pg, rows, name="t"):
    pg.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO {name} SELECT g FROM generate_series(1, {rows}) g")


def migration(drover, name="m", of="t", more=""):
    return drover.migration(name, f"-- drover: table {of}\n{LEDGER}{more}")


def calls(redis, command):
    """How often Redis has run this, scripts' calls among them."""
    return redis.client().info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def connections(redis):
    return {c["id"] for c in redis.client().client_list()}


def wait_for_heartbeats(pg, n):
    """Of one worker; with LEASE they are a second apart."""
    seen = set()

    def enough():
        seen.update(pg.sql("SELECT heartbeat_at FROM drover.workers"))
        return len(seen) > n

    wait_for(enough, lambda: f"{n} heartbeats, not {seen}")


def test_a_migration_that_cannot_be_audited_does_not_have_the_others_audited_again_and_again(pg, drover, redis):
    for name in ("t", "u", "v"):
        table(pg, 3, name)
    finish(drover, migration(drover, "over", "v"))  # whose stream is read, so that a flush is noticed
    queue(drover, migration(drover), migration(drover, "broken", "u", "-- drover: mode row\n"))
    pg.sql("""UPDATE drover.migrations SET plan = plan #- '{statements,missing}' WHERE name = 'broken';
              CREATE TABLE noted (what text, name text);
              CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO public.noted VALUES (TG_ARGV[0], NEW.name); RETURN NEW; END $$;
              CREATE TRIGGER audit BEFORE UPDATE OF audit_floor ON drover.migrations FOR EACH ROW EXECUTE FUNCTION note('audit');
              CREATE TRIGGER round BEFORE UPDATE OF auditor_until ON drover.migrations FOR EACH ROW EXECUTE FUNCTION note('round')""")
    drover.run("config", "m", "is_enabled=off")
    drover.run("config", "broken", "is_enabled=off")
    worker = drover.worker()
    worker.wait_for_log("tend.failed.*broken.*missing")

    def noted(what, name):
        return pg.value("SELECT count(*) FROM noted WHERE what = %s AND name = %s", (what, name))

    pg.sql("TRUNCATE noted")
    redis.client().flushall()
    wait_for(lambda: redis.client().xlen(stream(pg, "m")) == 3, "the audit refills Redis")
    wait_for(lambda: noted("round", "m") >= 6, lambda: f"it is looked after: {pg.sql('SELECT * FROM noted')}")
    assert noted("audit", "m") <= 3, pg.sql("SELECT * FROM noted")


def test_a_frozen_redis_is_asked_once_to_hand_over(pg, drover, redis):
    """A dead worker has left many jobs; Redis stands still while they are taken over."""
    table(pg, 60)
    queue(drover, migration(drover))
    client = redis.client(decode_responses=False)
    [[_, entries]] = client.xreadgroup("workers", "dead", {stream(pg, "m"): ">"}, count=60)
    client.xclaim(stream(pg, "m"), "workers", "dead", 0, [id for id, _ in entries], idle=3600000, justid=True)
    others = connections(redis)
    worker = drover.worker("--concurrency", "1", *LEASE)
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches WHERE state = 'done'") > 0, "it is at work", 30)
    theirs = connections(redis) - others
    before = calls(redis, "xautoclaim")
    redis.freeze()
    wait_for_heartbeats(pg, 2)
    worker.kill()
    redis.thaw()
    wait_for(lambda: not theirs & connections(redis), "all that it had asked is answered")
    assert calls(redis, "xautoclaim") - before <= 5


def test_more_migrations_than_a_read_takes_are_not_asked_for_on_and_on(pg, drover, redis):
    table(pg, 1)
    queue(drover, migration(drover))
    pg.sql("""INSERT INTO drover.migrations OVERRIDING SYSTEM VALUE
              SELECT (jsonb_populate_record(m, jsonb_build_object('id', 1000 + g, 'name', 'copy' || g))).* FROM drover.migrations m, generate_series(1, 80) g""")
    drover.worker("--concurrency", "1", *LEASE)
    wait_for(lambda: state(pg, "m")[0] == state(pg, "copy80")[0] == "complete", "all are complete")
    wait_for_heartbeats(pg, 1)
    before = calls(redis, "xreadgroup")
    wait_for_heartbeats(pg, 3)
    assert calls(redis, "xreadgroup") - before <= 3 * 20
