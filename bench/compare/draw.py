# mypy: ignore-errors
"""Draws plots: reads a list of them as JSON from standard input, and writes a list of SVG texts as JSON.

A program of its own, for the environment that has matplotlib. See ``Plot`` in plots.py for what a plot is.
"""

import io
import json
import re
import sys

import matplotlib as mpl

mpl.use("svg")
from matplotlib.figure import Figure

OURS, OTHERS, INK = "#0b6e4f", "#9aa5b1", "#1f2933"
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["system-ui", "sans-serif"],
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": OTHERS,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


def draw(plot, number):
    mpl.rcParams["svg.hashsalt"] = f"plot-{number}"  # names within one page must differ
    lines = plot["x"] is not None
    figure = Figure(figsize=(7.2, 2.8 if lines else 0.7 + 0.34 * len(plot["points"])), layout="constrained")
    axes = figure.add_subplot()
    (draw_line if lines else draw_bars)(axes, plot)
    output = io.StringIO()
    figure.savefig(output, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = output.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{plot["title"]}" ', 1)


def draw_bars(axes, plot):
    points = plot["points"][::-1]
    names = [point["name"] for point in points]
    medians = [point["median"] for point in points]
    reach = [[p["median"] - p["least"] for p in points], [p["most"] - p["median"] for p in points]]
    colours = [OURS if point["ours"] else OTHERS for point in points]
    axes.barh(
        names, medians, color=colours, height=0.62, xerr=reach, error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2}
    )
    most = max((point["most"] for point in points), default=0) or 1
    for place, point in enumerate(points):
        axes.annotate(
            f"{point['median']:,.3g}" if point["median"] < 1000 else f"{point['median']:,.0f}",
            (point["most"] + most * 0.01, place),
            va="center",
            fontsize=9,
        )
    axes.set_xlim(0, most * 1.12)
    axes.set_xlabel(plot["unit"])
    axes.tick_params(left=False)


def draw_line(axes, plot):
    points = plot["points"]
    xs = [point["name"] for point in points]
    medians = [point["median"] for point in points]
    reach = [[p["median"] - p["least"] for p in points], [p["most"] - p["median"] for p in points]]
    axes.errorbar([float(x) for x in xs], medians, yerr=reach, color=OURS, marker="o", capsize=3)
    axes.set_ylim(0, max((point["most"] for point in points), default=1) * 1.15 or 1)
    axes.set_xlim(0, None)
    axes.set_xlabel(plot["x"])
    axes.set_ylabel(plot["unit"])
    axes.grid(axis="y", color=OTHERS, alpha=0.3)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")


if __name__ == "__main__":
    json.dump([draw(plot, number) for number, plot in enumerate(json.load(sys.stdin))], sys.stdout)
