"""The network between the programs and their servers."""

from chaos.faults.registry import fault
from lib.proxy import DOWN, UP


@fault("network")
def network_cut(r, rng):
    for _ in range(rng.randint(1, 3)):
        r.network(rng).cut()
        yield 0.3


@fault("network")
def network_refuses(r, rng):
    network = r.network(rng)
    network.refuse()
    yield rng.uniform(0.5, 3)
    network.heal()


@fault("network")
def network_silent(r, rng):
    network = r.network(rng)
    network.silence()
    yield rng.uniform(1, 5)
    network.heal()


@fault("network")
def network_silent_and_connections_lost(r, rng):
    network = r.network(rng)
    network.silence(lost=True, noticed_s=rng.choice([10, 10, 10, None]))
    yield rng.uniform(0.5, 2)
    network.heal()


@fault("network")
def network_silent_in_one_direction(r, rng):
    network = r.network(rng)
    network.silence(rng.choice([UP, DOWN]))
    yield rng.uniform(1, 4)
    network.heal()


@fault("network")
def network_slow(r, rng):
    network = r.network(rng)
    network.latency(500, *rng.choice([(), (UP,), (DOWN,)]))
    yield rng.uniform(2, 4)
    network.heal()


@fault("network")
def answers_of_commits_lost(r, rng):
    lost = r.postgres_network.lost_answers
    times = rng.randint(1, 4)
    r.postgres_network.lose_answer(times=times)
    yield lambda: r.postgres_network.lost_answers >= lost + times
    r.postgres_network.heal()
    return r.postgres_network.lost_answers > lost


@fault("network")
def answers_of_redis_lost(r, rng):
    request = rng.choice([b"XREADGROUP", b"XADD", b"EVALSHA"])  # whatever else there is comes in a script
    r.say(request.decode())
    lost = r.redis_network.lost_answers
    r.redis_network.lose_answer(request, [b""])
    yield lambda: r.redis_network.lost_answers > lost
    r.redis_network.heal()
    return r.redis_network.lost_answers > lost
