"""A table whose rows count how often they were changed, and a migration that would show a job done twice."""


def table(pg, rows=200, name="t"):
    pg.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, a int, b int, n int NOT NULL DEFAULT 0); INSERT INTO {name} SELECT g, g FROM "
           f"generate_series(1, {rows}) g")


def migration(drover, change="-- drover: set n = n + 1", mode="batch", size=10, name="m", of="t", lock_timeout="60s"):
    """By the ledger alone, so that a job done twice would show."""
    return drover.migration(name, f"-- drover: table {of}\n-- drover: ledger\n-- drover: mode {mode}\n-- drover: batch-size {size}\n"
                                  f"-- drover: lock-timeout {lock_timeout}\n{change}\n")


def assert_every_row_once(pg, rows=200, name="t"):
    assert pg.sql(f"SELECT n, count(*) FROM {name} GROUP BY 1 ORDER BY 1") == [(1, rows)]
