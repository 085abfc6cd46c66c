"""The figures of a comparison: summed up, printed as a table, or as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Usage

_QUANTITIES = {"wall": "wall s", "cpu": "cpu s", "rss_mb": "peak MB"}


@dataclass(frozen=True)
class Goal:
    """A figure and what it must stay below.

    Attributes:
        what: What the figure says.
        values: One a pair of runs; their median is judged.
        target: None: only reported.
        unit: Of the figure.
    """

    what: str
    values: Sequence[float]
    target: float | None
    unit: str = ""

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        return self.target is None or self.median <= self.target


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        name: What to call it on the command line.
        runs: What was run -> its counted runs.
        goals: The figures that matter.
        notes: Other facts.
    """

    name: str
    runs: Mapping[str, Sequence[Usage]]
    goals: Sequence[Goal]
    notes: Sequence[str] = field(default_factory=tuple)


def ratios(
    product: Sequence[Usage], floor: Sequence[Usage], target: float, what: str = "product / plain"
) -> list[Goal]:
    """Product over floor, pair by pair: wall time is judged, processor time is less noisy on a busy machine."""
    pairs = list(zip(product, floor, strict=True))
    return [
        Goal(f"{what}, wall", [one.wall / other.wall for one, other in pairs], target),
        Goal(f"{what}, cpu", [one.cpu / other.cpu for one, other in pairs], None),
    ]


def show(comparison: Comparison, console: Console) -> None:
    """Print the tables of a comparison."""
    table = Table(title=comparison.name, title_justify="left", title_style="bold")
    table.add_column("run")
    for title in _QUANTITIES.values():
        table.add_column(f"{title}: min / median / max", justify="right")
    for name, runs in comparison.runs.items():
        table.add_row(name, *(_spread([getattr(run, quantity) for run in runs]) for quantity in _QUANTITIES))
    console.print(table)
    for goal in comparison.goals:
        target = (
            "" if goal.target is None else f"  target {goal.target:g}{goal.unit}: {'met' if goal.met else 'MISSED'}"
        )
        console.print(f"{goal.what}: {goal.median:.3g}{goal.unit} ({_spread(goal.values)}){target}", highlight=False)
    for note in comparison.notes:
        console.print(note, highlight=False)
    console.print()


def as_json(comparison: Comparison) -> dict[str, Any]:
    """All that was measured."""
    return {
        "name": comparison.name,
        "runs": {
            name: [{quantity: round(getattr(run, quantity), 3) for quantity in _QUANTITIES} for run in runs]
            for name, runs in comparison.runs.items()
        },
        "goals": [
            {
                "what": goal.what,
                "median": goal.median,
                "values": list(goal.values),
                "target": goal.target,
                "met": goal.met,
            }
            for goal in comparison.goals
        ],
        "notes": list(comparison.notes),
    }


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g} / {statistics.median(values):.3g} / {max(values):.3g}"
