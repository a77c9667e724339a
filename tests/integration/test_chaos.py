"""A short part of `./dev chaos`: three rounds with fixed seeds that touch faults of every group, and one in which nothing breaks."""

import pytest

from chaos.round import play

ROUNDS = {
    "calm": {"seed": 1, "calm": True},
    "redis": {"seed": 2, "only": ["redis_flushed", "redis_restarted_with_an_old_snapshot", "redis_garbage", "redis_failover_loses_a_second",
                                  "redis_entries_deleted", "worker_killed", "answers_of_redis_lost"]},
    "postgres": {"seed": 3, "only": ["postgres_stopped_at_once", "postgres_recovers_from_a_crash", "answers_of_commits_lost", "network_cut",
                                     "deadlocks_with_the_application", "producer_killed"]},
    "zombies": {"seed": 4, "only": ["worker_stopped_beyond_its_lease", "worker_fail_point", "producer_fail_point", "redis_group_destroyed",
                                    "postgres_backends_terminated", "network_silent"]},
}


@pytest.mark.parametrize("kind", ROUNDS)
def test_rows_change_exactly_once_whatever_breaks(kind, tmp_path):
    result = play(**ROUNDS[kind], home=tmp_path)
    assert not result["error"], "\n".join([result["draw"], *result["story"], result["error"]])
    assert kind == "calm" or len(result["hit"]) >= 5
