"""The scripts that take entries out of the stream: what they leave there, and what they never touch."""

from pathlib import Path

import pytest

LUA = Path(__file__).resolve().parents[2] / "common/queue/lua"
KEYS = ("jobs", "delayed")


@pytest.fixture
def stream(redis):
    """A client, and a stream of ten entries of which "a" has read the first eight."""
    client = redis.client()
    client.xgroup_create("jobs", "workers", "0", mkstream=True)
    for n in range(1, 11):
        client.xadd("jobs", {"j": n}, id=f"{n}-1")
    client.xreadgroup("workers", "a", {"jobs": ">"}, count=8)
    return client


def call(client, name, *argv):
    text = (LUA / "part/trim.lua").read_text() + (LUA / f"{name}.lua").read_text()
    return client.eval(text, len(KEYS), *KEYS, *argv)


def settle(client, *numbers):
    return call(client, "settle", "workers", len(numbers), *(f"{n}-1" for n in numbers), 0)


def there(client):
    return [int(entry.split("-")[0]) for entry in (e if isinstance(e, str) else e.decode() for e, _ in client.xrange("jobs"))]


def test_entries_behind_one_that_is_pending_go_with_it(stream):
    assert settle(stream, 3, 4, 5) in ("1-1", b"1-1")
    assert there(stream) == list(range(1, 11))
    settle(stream, 1)
    assert there(stream) == list(range(2, 11))
    settle(stream, 2)
    assert there(stream) == [6, 7, 8, 9, 10]
    assert settle(stream, 6, 7, 8) in ("", b"")
    assert there(stream) == [9, 10]
    assert stream.xpending("jobs", "workers")["pending"] == 0


def test_what_is_given_back_takes_along_what_waited_for_it(stream):
    settle(stream, 2, 3, 4, 5, 6, 7, 8)
    assert call(stream, "give_back", "workers", "a", "", "1-1", "1") == 1
    assert len(there(stream)) == 3 and there(stream)[:2] == [9, 10]


def test_an_entry_that_is_to_be_delivered_is_never_trimmed(stream):
    stream.xack("jobs", "workers", "1-1", "2-1")  # by somebody who is not us
    stream.xgroup_setid("jobs", "workers", "0")
    settle(stream, 3)
    assert there(stream) == list(range(1, 11))
    settle(stream, 4, 5, 6, 7, 8)
    assert there(stream) == list(range(1, 11))
    assert len(stream.xreadgroup("workers", "a", {"jobs": ">"}, count=100)[0][1]) == 10
    settle(stream, *range(1, 11))
    assert there(stream) == []


def test_without_a_group_what_is_settled_is_deleted(stream):
    stream.xgroup_destroy("jobs", "workers")
    settle(stream, 5, 6)
    assert there(stream) == [1, 2, 3, 4, 7, 8, 9, 10]


def test_the_greatest_of_numbers_is_no_error(stream):
    most = f"{2**64 - 1}-{2**64 - 1}"
    stream.xgroup_setid("jobs", "workers", most)
    settle(stream, 1)
    assert there(stream)[0] == 2
