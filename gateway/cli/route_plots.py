"""Plots of `tollgate route simulate`; the one file that needs matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from router.simulator.compare import Result

matplotlib.use("Agg")


def draw(folder: Path, scenario: str, results: list[Result]) -> None:
    """Three PNGs of one seed: how first tokens came, what each node had, what caches had."""
    for name, plot in (("ttft", _ttft), ("load", _load), ("hits", _hits)):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots()
        plot(axes, results)
        axes.set_title(f"{axes.get_title()} · {scenario}")
        figure.savefig(folder / f"{scenario}-{name}.png", dpi=110)


def _ttft(axes: Axes, results: list[Result]) -> None:
    for result in results:
        seconds = sorted(o.ttft_ns / 1e9 for o in result.outcomes if o.ttft_ns is not None)
        shares = [1 - number / len(seconds) for number in range(len(seconds))]
        bold = result.figures.policy in ("oracle", "tollgate")
        axes.plot(seconds, shares, label=result.figures.policy, linewidth=2.2 if bold else 1.1)
    axes.set(
        title="First tokens still to come (1 - CDF)",
        xscale="log",
        yscale="log",
        xlabel="seconds after the request",
        ylabel="share of the requests",
        ylim=(5e-4, 1),
    )
    axes.axhline(0.01, color="grey", linewidth=0.8, linestyle=":")
    axes.text(0.01, 0.0105, "p99", color="grey", transform=axes.get_yaxis_transform())
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=9)


def _load(axes: Axes, results: list[Result]) -> None:
    width = 0.8 / len(results)
    nodes = sorted(results[0].loads)
    for number, result in enumerate(results):
        places = [place + number * width for place in range(len(nodes))]
        axes.bar(places, [result.loads[n] for n in nodes], width, label=result.figures.policy)
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.axhline(2, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xticks(
        [place + 0.4 - width / 2 for place in range(len(nodes))],
        nodes,
        rotation=60,
        ha="right",
        fontsize=8,
    )
    axes.set(title="Load of each node", ylabel="share of the tokens by fair share (its speed)")
    axes.legend(fontsize=8, ncols=len(results), loc="upper center")
    axes.set_ylim(top=axes.get_ylim()[1] * 1.12)


def _hits(axes: Axes, results: list[Result]) -> None:
    names = [result.figures.policy for result in results]
    axes.bar(names, [result.figures.prefix_hit_ratio for result in results], color="tab:blue")
    infinite = results[0].figures.infinite_cache_hit_ratio
    axes.axhline(infinite, color="black", linewidth=1)
    axes.annotate("one infinite cache", (0, infinite), ha="center", va="bottom", fontsize=9)
    axes.axhline(0.85 * infinite, color="grey", linewidth=0.8, linestyle=":")
    axes.set(title="Prompt tokens that were in the node's cache", ylabel="share")
    axes.set_ylim(0, max(infinite * 1.15, 0.05))
