"""The network that the tests break breaks as they think it does."""

import pytest
import socket

import psycopg
import redis as redis_client

from lib.process import wait_for
from lib.proxy import DOWN, UP


@pytest.fixture
def proxy(network, redis):
    return network(redis)


def client(proxy, timeout_s=10):
    return redis_client.Redis(unix_socket_path=str(proxy.path), socket_timeout=timeout_s, retry=None, decode_responses=True)


def test_what_is_sent_arrives_and_answers_come_back(proxy):
    text = "x" * 3_000_000
    client(proxy).set("a", text)
    assert client(proxy).get("a") == text


def test_a_cut_ends_connections_and_new_ones_work(proxy):
    caller = client(proxy).client()
    caller.ping()
    proxy.cut()
    with pytest.raises(redis_client.ConnectionError):
        caller.ping()
    assert caller.ping()


def test_refused_connections_are_closed_until_it_is_healed(proxy):
    proxy.refuse()
    with pytest.raises(redis_client.ConnectionError):
        client(proxy).ping()
    proxy.heal()
    assert client(proxy).ping()


@pytest.mark.parametrize("direction, arrived", [(UP, None), (DOWN, "1")])
def test_silence_in_one_direction_lets_the_other_through(proxy, redis, direction, arrived):
    caller = client(proxy, timeout_s=0.5)
    caller.ping()
    proxy.silence(direction)
    with pytest.raises(redis_client.TimeoutError):
        caller.set("a", "1")
    assert redis.client().get("a") == arrived


def test_what_was_sent_into_the_silence_arrives_later_unless_it_is_lost(proxy, redis):
    caller = client(proxy, timeout_s=0.5)
    for key, lost in (("late", False), ("lost", True)):
        caller.ping()
        proxy.silence(lost=lost)
        with pytest.raises(redis_client.TimeoutError):
            caller.set(key, "1")
        proxy.heal()
    wait_for(lambda: redis.client().get("late"))
    assert caller.ping()
    assert redis.client().get("lost") is None


def test_a_client_notices_a_lost_connection_when_its_kernel_would(proxy, redis):
    caller = client(proxy)
    caller.ping()
    clients = len(redis.client().client_list())
    proxy.silence(lost=True, noticed_s=0.2)
    with pytest.raises(redis_client.ConnectionError):
        caller.set("a", "1")
    assert len(redis.client().client_list()) == clients  # the server does not notice


def test_latency_is_added(proxy):
    proxy.latency(300, DOWN)
    with pytest.raises(redis_client.TimeoutError):
        client(proxy, timeout_s=0.2).ping()
    assert client(proxy).ping()


def test_a_commit_is_carried_out_and_its_answer_lost(network, pg):
    proxy = network(pg.server)
    pg.sql("CREATE TABLE t (id int)")
    proxy.lose_answer()
    conn = psycopg.connect(proxy.url(pg.url))
    conn.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(psycopg.OperationalError):
        conn.commit()
    assert pg.value("SELECT count(*) FROM t") == 1
    assert proxy.lost_answers == 1
    with psycopg.connect(proxy.url(pg.url)) as conn:
        conn.execute("INSERT INTO t VALUES (2)")
    assert pg.value("SELECT count(*) FROM t") == 2


def test_programs_on_tcp_see_a_reset(network, redis):
    proxy = network(redis, tcp=True)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as caller:
        caller.send(b"PING\r\n")
        assert caller.recv(100) == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            caller.recv(100)
