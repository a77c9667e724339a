"""A Redis that loses what it holds, or cannot be asked."""

from chaos.faults.registry import fault
from lib.redis_server import Redis


@fault("redis")
def redis_flushed(r, _):
    r.redis.client().flushall()
    yield 0


@fault("redis")
def redis_restarted_empty(r, rng):
    r.redis.kill()
    yield rng.uniform(0, 1.5)
    r.redis.start()


@fault("redis")
def redis_restarted_with_an_old_snapshot(r, rng):
    r.redis.client().save()
    done = r.rows_done
    yield lambda: r.rows_done > done + r.draw.rows_at_once * rng.randint(5, 30)
    r.redis.restart()
    (r.redis.dir / "dump.rdb").unlink()


@fault("redis")
def redis_connections_killed(r, rng):
    for _ in range(rng.randint(1, 4)):
        client = r.redis.client()
        client.client_kill_filter(_type="normal", skipme=True)
        yield 0.2


@fault("redis")
def redis_asleep(r, rng):
    r.redis.client().execute_command("DEBUG", "SLEEP", round(rng.uniform(0.5, 2), 1))
    yield 0


@fault("redis")
def redis_frozen_beyond_every_deadline(r, _):
    r.redis.freeze()
    yield 11
    r.redis.thaw()


@fault("redis")
def redis_out_of_memory(r, rng):
    r.redis.client().config_set("maxmemory", 1)
    yield rng.uniform(1, 3)
    r.redis.client().config_set("maxmemory", 0)


@fault("redis")
def redis_group_destroyed(r, _):
    r.redis.client().xgroup_destroy(r.stream, "workers")
    yield 0


@fault("redis")
def redis_entries_deleted(r, rng):
    client = r.redis.client(decode_responses=False)  # garbage may be among them
    entries = [id_ for id_, _ in client.xrange(r.stream)]
    if entries:
        client.xdel(r.stream, *rng.sample(entries, (len(entries) + 1) // 2))
    yield 0


@fault("redis")
def redis_stream_trimmed(r, rng):
    r.redis.client().xtrim(r.stream, maxlen=rng.randint(0, 5), approximate=False)
    yield 0


@fault("redis")
def redis_garbage(r, rng):
    client = r.redis.client()
    for _ in range(20):
        client.xadd(r.stream, {rng.choice(["p", "job", "", "x" * 100]): rng.randbytes(rng.choice([0, 3, 50, 5000]))})
        client.zadd(r.stream.removesuffix("jobs") + "delayed", {rng.randbytes(20): rng.choice([0, 1e15])})
    if rng.random() < 0.3:
        client.set(r.stream.removesuffix("jobs") + "marker", "garbage")
    yield 0


@fault("redis")
def redis_failover_loses_a_second(r, rng):
    old, new = r.redis, Redis(r.redis.args, tcp=True)
    new.start()
    new.client().replicaof("127.0.0.1", old.port)
    yield lambda: new.client().info("replication").get("master_link_status") == "up"
    new.client().replicaof("NO", "ONE")
    yield rng.uniform(0.3, 1.2)  # all that the old one is told meanwhile is lost
    r.redis_network.server = new.socket
    r.redis = new
    r.redis_network.cut()
    old.remove()
