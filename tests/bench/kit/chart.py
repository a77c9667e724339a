"""Plots as SVG: bars with their spread, and lines. Plain text of our own: a plot needs no library to be made or seen."""

from html import escape
from math import ceil, floor, log10

_INK, _PALE, _BAR, _GOAL = "#222", "#ddd", "#4878a8", "#c03020"
_COLOURS = (_BAR, "#d08030", "#509050", "#a04870", "#806040", "#308890")
_WIDTH, _LABELS, _RIGHT = 860, 310, 90


def _text(x, y, text, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(str(text))}</text>'


def _line(x1, y1, x2, y2, colour, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def _svg(height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13" fill="{_INK}">\n'
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n' + "\n".join([_text(12, 24, title, more='font-size="16"'), *parts])
            + "\n</svg>\n")


def short(x):
    """A number as an axis has it: 20k, 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:.3g}{letter}"
    return f"{x:.3g}"


def _steps(high):
    """Round numbers from 0 to at least `high`."""
    size = 10 ** floor(log10(high / 5))
    step = next(size * m for m in (1, 2, 5, 10) if size * m * 6 >= high)
    return [step * i for i in range(ceil(high / step) + 1)]


def bars(title, axis, rows, log=False):
    """rows: (label, low, middle, high, bar or None); `bar` is drawn as a mark. log: a logarithmic axis."""
    most = max(max(row[3], row[4] or 0) for row in rows)
    if log:
        least = 10 ** floor(log10(min(row[1] for row in rows)))
        ticks = [10.0 ** p for p in range(round(log10(least)), ceil(log10(most)) + 1)]

        def share(x):
            return log10(max(x, least) / least) / log10(ticks[-1] / least)
    else:
        ticks = _steps(most)

        def share(x):
            return x / ticks[-1]

    def at(x):
        return _LABELS + (_WIDTH - _LABELS - _RIGHT) * share(x)

    bottom = 50 + 30 * len(rows)
    parts = [_line(at(t), 40, at(t), bottom, _PALE) + _text(at(t), bottom + 16, short(t), "middle") for t in ticks]
    for number, (label, low, mid, high, bar) in enumerate(rows):
        y = 48 + 30 * number
        parts += [_text(_LABELS - 8, y + 13, label, "end"),
                  f'<rect x="{_LABELS}" y="{y}" width="{at(mid) - _LABELS:.1f}" height="18" fill="{_BAR}"/>',
                  _line(at(low), y + 9, at(high), y + 9, _INK, 'stroke-width="2"'),
                  _text(max(at(high), at(mid)) + 8, y + 13, short(mid))]
        if bar is not None:
            parts.append(_line(at(bar), y - 4, at(bar), y + 22, _GOAL, 'stroke-width="3"'))
    parts.append(_text((_LABELS + _WIDTH - _RIGHT) / 2, bottom + 36, axis, "middle"))
    return _svg(bottom + 50, title, parts)


def lines(title, x_axis, y_axis, series, goal=None):
    """series: {name: [(x, y)]}. goal: a y that is to be stayed under."""
    xs = _steps(max(x for points in series.values() for x, _ in points))
    ys = _steps(max(goal or 0, *(y for points in series.values() for _, y in points)))
    left, right, top, bottom = 70, _WIDTH - 200, 64, 400

    def place(x, y):
        return left + (right - left) * x / xs[-1], bottom - (bottom - top) * y / ys[-1]

    parts = []
    for x in xs:
        parts.append(_text(place(x, 0)[0], bottom + 18, short(x), "middle"))
    for y in ys:
        parts += [_line(left, place(0, y)[1], right, place(0, y)[1], _PALE), _text(left - 8, place(0, y)[1] + 4, short(y), "end")]
    if goal:
        parts.append(_line(left, place(0, goal)[1], right, place(0, goal)[1], _GOAL, 'stroke-width="2"'))
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in sorted(points))
        parts += [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
                  *('<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*place(x, y), colour) for x, y in points),
                  _text(right + 12, top + 12 + 20 * number, name, more=f'style="fill:{colour}"')]
    parts += [_text((left + right) / 2, bottom + 38, x_axis, "middle"), _text(12, 42, y_axis)]
    return _svg(bottom + 52, title, parts)
