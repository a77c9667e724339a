"""Figures as they come, each with the bar it is held against: on the screen, and as a table in build/bench."""

import statistics
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "build/bench"


def middle(figures, digits=2):
    """Median and spread of some figures: "1.20 (1.10 to 1.90)"."""
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


def quartiles(figures):
    """(lower quartile, median, upper quartile)."""
    if len(figures) < 2:
        return (figures[0],) * 3
    return tuple(statistics.quantiles(figures, n=4, method="inclusive"))


def median(figures):
    return statistics.median(figures)


def spread(figures, unit=""):
    """Median and quartiles: "1.20 (1.10..1.90)"."""
    low, mid, high = quartiles(figures)
    return f"{number(mid)}{unit}" + (f" ({number(low)}..{number(high)})" if len(figures) > 1 else "")


def number(x):
    """With as many digits as mean something."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:,.1f}" if abs(x) >= 20 else f"{x:.2f}"


def timed(work):
    """Seconds that a call takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _table(head, rows):
    """A table as Markdown has it, and as it reads well on a screen too."""
    rows = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


class Report:
    """Prints; what was said under one head goes to build/bench/NAME.md too."""

    def __init__(self, facts=()):
        self.facts, self.met, self.missed, self.path = facts, 0, 0, None
        self.say("\n".join(facts))

    def head(self, name, text):
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.path = FOLDER / f"{name}.md"
        self.path.write_text("\n".join(f"- {fact}" for fact in self.facts) + "\n")
        self.say(f"\n{name}: {text}\n")

    def plot(self, name, svg):
        """Keeps a plot as build/bench/NAME.svg."""
        (FOLDER / f"{name}.svg").write_text(svg)

    def say(self, text):
        print(text, flush=True)
        if self.path:
            with open(self.path, "a") as file:
                print(text, file=file)

    def verdict(self, figure, unit, bar, under=True):
        """What a figure is worth against its bar: "under 32 MiB: yes". Counts those that are missed."""
        if bar is None:
            return ""
        met = figure <= bar if under else figure >= bar
        self.met += met
        self.missed += not met
        return f"at {'most' if under else 'least'} {bar:g} {unit}: {'yes' if met else 'NO'}"

    def line(self, what, figure, unit, bar=None, under=True):
        self.say(f"{what:<58}{figure:>12,.2f} {unit:<8}{self.verdict(figure, unit, bar, under)}")

    def end(self):
        self.path = None
        self.say(f"\n{self.met} bars met, {self.missed} missed; tables and plots are in build/bench")

    def table(self, head, rows):
        self.say(_table(head, rows))
