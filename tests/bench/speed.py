"""`drover run` on a large table against the one-shot UPDATE of the same rows."""

from lib.drover import Drover

from kit import LEFT, SET_FILE, database, fill, timed


def options(add):
    add("--rows", type=int, default=1_000_000, help="rows of the table")


def run(report, args):
    with database() as db:
        fill(db, args.rows)
        one_shot_s = timed(lambda: db.sql("UPDATE people SET first_name = split_part(full_name, ' ', 1) WHERE first_name IS NULL"))
        fill(db, args.rows)
        drover = Drover(db.url)
        try:
            took_s = timed(lambda: drover.run("run", drover.migration("0001_first_name", SET_FILE), timeout_s=3600))
        finally:
            drover.close()
        report.line(f"drover run, {args.rows:,} rows: rows left by plain SQL", db.value(LEFT), "rows", 1)
        report.line("  rows/s, from the command to its proof", args.rows / took_s, "rows/s")
        report.line("  times the one-shot UPDATE", one_shot_s / took_s, "x")
