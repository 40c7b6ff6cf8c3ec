"""Charts without a library: a histogram, and lines on logarithmic axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

_WIDTH, _HEIGHT, _MARGIN = 640, 320, 48
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2")


def histogram(title: str, values: Sequence[float], unit: str, bins: int = 60) -> str:
    """How often each value was measured, as an SVG document."""
    low, high = min(values), sorted(values)[ceil(0.995 * len(values)) - 1]
    width = (high - low) / bins or 1.0
    # What is beyond the last bin is in it, so that one outlier does not flatten all others.
    counts = Counter(min(int((value - low) / width), bins - 1) for value in values)
    step, top = (_WIDTH - 2 * _MARGIN) / bins, max(counts.values())
    bars = []
    for bin_, count in counts.items():
        height = count / top * (_HEIGHT - 2 * _MARGIN)
        x, y = _MARGIN + bin_ * step, _HEIGHT - _MARGIN - height
        bars.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{step:.1f}" height="{height:.1f}"/>')
    return _document(
        title,
        [
            f'<g fill="{_COLOURS[0]}">{"".join(bars)}</g>',
            _text(_MARGIN, _HEIGHT - _MARGIN + 20, f"{low:.3g} {unit}"),
            _text(_WIDTH - _MARGIN, _HEIGHT - _MARGIN + 20, f"{high:.3g} {unit}", "end"),
            _text(_MARGIN, _MARGIN - 6, f"{top} of {len(values)}"),
        ],
    )


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Points (x, y), all above 0, of each series, on logarithmic axes."""
    points = [point for line in series.values() for point in line]
    xs, ys = [log10(x) for x, _ in points], [log10(y) for _, y in points]

    def place(x: float, y: float) -> tuple[float, float]:
        along = (log10(x) - min(xs)) / ((max(xs) - min(xs)) or 1)
        up = (log10(y) - min(ys)) / ((max(ys) - min(ys)) or 1)
        inner_width, inner_height = _WIDTH - 4 * _MARGIN, _HEIGHT - 2 * _MARGIN
        return _MARGIN + along * inner_width, _HEIGHT - _MARGIN - up * inner_height

    drawn = []
    for (name, line), colour in zip(series.items(), _COLOURS, strict=False):
        places = [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        x, y = places[-1]
        drawn.append(_text(x + 6, y + 4, f"{name} {line[-1][1]:.3g}", fill=colour))
    drawn += [
        _text(place(x, points[0][1])[0], _HEIGHT - _MARGIN + 20, f"{x:,.0f}", "middle")
        for x in sorted({x for x, _ in points})
    ]
    return _document(title, drawn)


def _text(x: float, y: float, said: str, anchor: str = "start", fill: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(said)}</text>'
    )


def _document(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f"{_text(_WIDTH / 2, 18, title, 'middle')}{''.join(parts)}</svg>\n"
    )
