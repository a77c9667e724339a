"""drover-worker --health: what a container's health check runs."""

import signal

from lib.process import free_port
from lib.redis_server import Redis


def test_health_is_that_of_the_loop_and_not_of_the_servers(drover):
    address = f"0.0.0.0:{free_port()}"
    drover.env["DROVER_METRICS_LISTEN"] = address
    assert "Connection refused" in drover.run_worker("--health", rc=1).err
    worker = drover.worker(env={"REDIS_URL": "redis://127.0.0.1:1"})
    worker.wait_for_log("server.away server=Redis")
    assert drover.run_worker("--health").err == ""
    worker.signal(signal.SIGSTOP)
    assert "no answer within 3 s" in drover.run_worker("--health", rc=1).err
    worker.signal(signal.SIGCONT)
    drover.run_worker("--health")


def test_health_of_something_else_is_one_clear_line(drover):
    assert "set DROVER_METRICS_LISTEN" in drover.run_worker("--health", rc=2).err
    with Redis(tcp=True) as other:
        result = drover.run_worker("--health", "--metrics-listen", f"localhost:{other.port}", rc=1)
    assert result.err == f"drover-worker: nothing healthy at localhost:{other.port}/healthz: what answers does not speak HTTP\n"
