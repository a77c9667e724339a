#!/usr/bin/python3
"""Measures Drover on this machine, with servers of its own.

    ./dev bench                        the short ones, some twelve minutes
    ./dev bench dead-letters flush     these two
    ./dev bench speed --rows 100000    smaller

Prints each figure with the bar it is held against, keeps them as tables and plots in build/bench; ends with status 1 if a bar is missed.

Each bench is a file beside this one: the first line of its docstring says what it measures, options(add) gives its options as
argparse's add_argument would take them, run(report, args) measures.
"""

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from kit import Report, clean  # noqa: E402
from kit.facts import facts  # noqa: E402

DEFAULT = ["speed", "live", "control", "idle"]


def benches():
    """Module by name."""
    files = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "bench")
    return {stem.replace("_", "-"): importlib.import_module(stem) for stem in files}


def main():
    modules = benches()
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.partition("\n\nEach")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n".join(["benches:", *(f"  {name:<14}{module.__doc__.splitlines()[0]}"
                                                                     for name, module in modules.items())]))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of those below; {', '.join(DEFAULT)} unless told")
    for name, module in modules.items():
        module.options(parser.add_argument_group(name).add_argument)
    args = parser.parse_args()
    for name in args.names:
        if name not in modules:
            parser.error(f"there is no bench '{name}': {', '.join(modules)}")
    clean()
    report = Report(facts())
    for name in args.names or DEFAULT:
        report.head(name, modules[name].__doc__.splitlines()[0])
        modules[name].run(report, args)
    report.end()
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
