"""./dev chaos: rounds, several at a time, each in a process of its own; a line for each and a table at the end."""

import argparse
import concurrent.futures
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from chaos.faults import FAULTS, available
from chaos.round import play

SLOW_S = 75  # a round that took longer tells its story, too


def report(number, total, result):
    ok = "FAILED" if result["error"] else "ok"
    print(f"{number:4}/{total} seed {result['seed']}{' calm' if result['calm'] else ''}: {ok} in {result['seconds']:.0f} s: {result['draw']}; "
          f"{len(result['hit'])} faults: {', '.join(result['hit']) or 'none'}", flush=True)
    if result["error"] or result["seconds"] > SLOW_S:
        print(*result["story"], sep="\n")
    if result["error"]:
        print(result["error"], f"logs: {result['folder']}", sep="\n", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, help="of the first round, the next has the next; otherwise random")
    parser.add_argument("--jobs", type=int, default=min(3, 1 + (os.cpu_count() or 1)), help="rounds at a time")
    parser.add_argument("--only", help="draw these faults alone: FAULT,... ; 'none' for none", default="")
    parser.add_argument("--stop", action="store_true", help="after the first failure")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name and name != "none"]
    unknown = set(only) - set(FAULTS)
    if unknown:
        parser.error(f"no fault {', '.join(sorted(unknown))}; there are: none, {', '.join(FAULTS)}")
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"{options.rounds} rounds from seed {seed}, {options.jobs} at a time", flush=True)
    for name in FAULTS:
        if not available(name):
            print(f"not on this machine: {name}", flush=True)
    home = Path(__file__).resolve().parents[2] / "build/chaos"
    shared = tempfile.mkdtemp(prefix="drover-chaos-", dir="/tmp")
    os.chmod(shared, 0o755)
    os.environ["DROVER_TEST_TMP"] = shared
    begun, results = time.monotonic(), []
    try:
        with concurrent.futures.ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            rounds = [pool.submit(play, seed + i, only, options.only == "none", home) for i in range(options.rounds)]
            try:
                for done in concurrent.futures.as_completed(rounds):
                    results.append(done.result())
                    report(len(results), options.rounds, results[-1])
                    if results[-1]["error"] and options.stop:
                        break
            finally:
                pool.shutdown(cancel_futures=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
    return summary(results, time.monotonic() - begun)


def summary(results, seconds):
    hits = Counter(name for result in results for name in result["hit"])
    resumes = Counter(why for result in results for why in result["resumes"])
    failed = sorted(result["seed"] for result in results if result["error"])
    for name, count in sorted(hits.items()):
        print(f"{count:6} {name}")
    fewest = min((len(result["hit"]) for result in results if not result["calm"]), default=0)
    reached = Counter(point for result in results for point in result["reached"])
    print(f"fail points at which a program died or stopped: {', '.join(f'{point} {count}' for point, count in sorted(reached.items())) or 'none'}")
    print(f"{len(results)} rounds in {seconds:.0f} s, {sum(hits.values())} faults, at least {fewest} in each; resumed by hand where the contract "
          f"asks for it: {dict(resumes) or 'never'}; {len(failed)} failed{': seeds ' + str(failed) if failed else ''}")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
