"""Pictures of the serving benchmarks, beside their JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

__all__ = ["plot_peers", "plot_serving"]

CONNECTIONS = ("1", "8", "32")
_COLOURS = ("#9db7d9", "#4f7fbf", "#1f4e8c")


def plot_peers(rates: Mapping[str, Mapping[str, float]], target: Path) -> None:
    """Draw answers a second by server and number of connections, on a logarithmic scale."""
    _bars(rates, "The recommender, one instance a request", target)


def plot_serving(found: Mapping[str, Any], target: Path) -> None:
    """Draw every door beside its limit, request time by instances, and goodput under overload, where measured."""
    panels = [panel for name in ("recommender", "tagger") if name in found for panel in _panels(name, found[name])]
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 4 * len(panels)), squeeze=False)
    for draw, axis in zip(panels, axes[:, 0], strict=True):
        draw(axis)
    figure.tight_layout()
    figure.savefig(target)
    plt.close(figure)


def _panels(name: str, result: Mapping[str, Any]) -> list[Any]:
    panels: list[Any] = []
    rates = {f"bare handler, {door}": _rates(told) for door, told in result["bare"].items()}
    rates |= {door: _rates(told) for door, told in result["doors"].items() if isinstance(told, dict) and "8" in told}
    panels.append(lambda axis: _draw_bars(axis, rates, f"{name}: answers a second"))
    if "slope" in result:
        panels.append(lambda axis: _draw_slope(axis, name, result["slope"]))
    if "overload" in result:
        panels.append(lambda axis: _draw_overload(axis, name, result["overload"]))
    return panels


def _rates(told: Mapping[str, Any]) -> dict[str, float]:
    return {connections: told[connections]["rate"] for connections in CONNECTIONS if connections in told}


def _bars(rates: Mapping[str, Mapping[str, float]], title: str, target: Path) -> None:
    figure, axis = plt.subplots(figsize=(9, 1 + 0.55 * len(rates)))
    _draw_bars(axis, rates, title)
    figure.tight_layout()
    figure.savefig(target)
    plt.close(figure)


def _draw_bars(axis: Any, rates: Mapping[str, Mapping[str, float]], title: str) -> None:
    names = list(reversed(rates))
    for place, (connections, colour) in enumerate(zip(CONNECTIONS, _COLOURS, strict=True)):
        heights = [rates[name].get(connections, 0.0) for name in names]
        places = [row + 0.27 * (1 - place) for row in range(len(names))]
        bars = axis.barh(places, heights, 0.25, label=f"{connections} connections", color=colour)
        axis.bar_label(bars, [f"{height:,.0f}" for height in heights], padding=2, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("answers a second")
    axis.set_title(title)
    axis.legend(fontsize=7)


def _draw_slope(axis: Any, name: str, slope: Mapping[str, Any]) -> None:
    sizes = [int(size) for size in slope["times"]]
    fitted = [1e6 * (slope["overhead"] + slope["each"] * size) for size in sizes]
    axis.plot(sizes, [1e6 * seconds for seconds in slope["times"].values()], "o", label="measured")
    axis.plot(sizes, fitted, label=f"{1e6 * slope['overhead']:.0f} + n x {1e6 * slope['each']:.1f}")
    axis.set(
        xscale="log", yscale="log", xlabel="instances n", ylabel="microseconds", title=f"{name}: time of a request"
    )
    axis.legend()


def _draw_overload(axis: Any, name: str, overload: Mapping[str, Any]) -> None:
    for door, told in overload.items():
        axis.plot([int(times) for times in told], [entry["of_peak"] for entry in told.values()], "o-", label=door)
    axis.axhline(0.9, linestyle=":", color="grey")
    axis.set(xlabel="offered, times the capacity", ylabel="goodput, of the peak", ylim=(0, 1.1))
    axis.set_title(f"{name}: more than can be answered")
    axis.legend()
