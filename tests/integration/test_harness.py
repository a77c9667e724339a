"""The checks at the end of every test do catch what they are for: shown with shell scripts in the programs' place."""

import signal

import pytest

from lib.drover import Drover


@pytest.fixture
def fake(tmp_path):
    """fake(script): a Drover whose two programs are this shell script."""

    def make(script):
        for name in ("drover", "drover-worker"):
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return Drover("postgresql:///x", "unix:///x", bindir=tmp_path)

    return make


def test_a_program_that_ends_in_order_passes(fake):
    programs = fake('echo "$1 $DATABASE_URL"; echo log line >&2; exit 3')
    result = programs.run("status", rc=3)
    assert result.out == "status postgresql:///x\n"
    assert result.err == "log line\n"
    programs.close()


def test_a_worker_is_stopped_with_term_and_its_log_read(fake):
    programs = fake("trap 'echo drained >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.1; done")
    worker = programs.worker("--concurrency", 1)
    worker.wait_for_log("^ready$")
    assert worker.running
    programs.stop_all()
    assert "drained" in worker.err
    programs.close()


def test_a_wrong_exit_status_fails(fake):
    programs = fake("exit 1")
    with pytest.raises(AssertionError, match="wanted exit status 0"):
        programs.run()
    programs.close()


def test_a_crash_fails_the_end(fake):
    programs = fake("trap 'kill -SEGV $$' TERM; echo ready >&2; while :; do sleep 0.1; done")
    programs.worker().wait_for_log("ready")
    with pytest.raises(AssertionError, match="did not drain"):
        programs.close()


def test_a_killed_worker_is_no_failure(fake):
    programs = fake("echo ready >&2; exec sleep 1000")
    worker = programs.worker()
    worker.wait_for_log("ready")
    worker.kill()
    assert worker.popen.returncode == -signal.SIGKILL
    programs.close()


def test_a_process_left_behind_fails_the_end(fake):
    programs = fake("setsid sleep 1000 > /dev/null 2>&1 &")
    programs.run()
    with pytest.raises(AssertionError, match="left behind: .*sleep 1000"):
        programs.close(timeout_s=1)


@pytest.mark.parametrize("report", [
    'echo "==1==ERROR: AddressSanitizer: heap-use-after-free" > "${ASAN_OPTIONS%%:*}.1"',
    'echo "x.c:1:2: runtime error: signed integer overflow" >&2',
])
def test_a_sanitizer_report_fails_the_end(fake, report):
    report = report.replace("${ASAN_OPTIONS%%:*}", "$(echo $ASAN_OPTIONS | sed 's/log_path=//;s/:.*//')")
    programs = fake(report)
    programs.popen().wait()
    with pytest.raises(AssertionError, match="AddressSanitizer|runtime error"):
        programs.close()
