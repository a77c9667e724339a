"""Races and input that were looked for with ill will, each held still at its worst moment."""

import signal

from lib.process import wait_for
from lib.scenario import Gate, queue, stream


def test_a_receipt_stays_while_a_double_delivery_may_still_ask_for_it(pg, drover, redis):
    """A worker that has looked at an open window, but not yet asked for its row's receipt, while another does the row, the window
    is closed and its receipts are pruned: the row is changed once."""
    pg.sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT g FROM generate_series(1, 20) g")
    path = drover.migration("m", "-- drover: table t\n-- drover: ledger\n-- drover: mode row\n-- drover: set n = n + 1\n-- drover: lock-timeout 60s\n")
    queue(drover, path)
    client = redis.client(decode_responses=False)
    jobs = [fields for _, fields in client.xrange(stream(pg, "m"))]
    gate = Gate(pg, "drover late/%")
    pg.sql("""CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.gate(1); RETURN NEW; END $$;
              CREATE TRIGGER hold BEFORE INSERT ON drover.row_receipts FOR EACH STATEMENT EXECUTE FUNCTION hold()""")
    late = drover.worker("--name", "late", "--concurrency", "1")
    gate.wait()
    late.signal(signal.SIGSTOP)
    for fields in jobs:
        client.xadd(stream(pg, "m"), fields)
    quick = drover.worker("--name", "quick")
    wait_for(lambda: pg.value("SELECT min(n) FROM t") == 1, "every row is changed")
    producer = drover.popen("produce", path, "--wait")
    wait_for(lambda: pg.value("SELECT count(*) FROM drover.batches WHERE state = 'closed'") == 1, "the window is closed")
    producer.wait()
    gate.open()
    late.signal(signal.SIGCONT)
    for worker in (late, quick):
        worker.terminate()
        worker.wait()
    assert pg.sql("SELECT n, count(*) FROM t GROUP BY 1") == [(1, 20)]
