"""A synthetic binary classification problem: which orders of an online shop will be sent back.

Belongs here: the columns, the signal and the drift of that invented shop. The columns have what makes real tables
awkward: several kinds, missing values, a comma and umlauts in categories, 300 store codes, a time of day that matters.

The world changes slowly and smoothly with the days since `start`: the numbers' means swing, and the weight of the
signal turns from one column to another. Both are bounded and the periods differ, so the problem is as hard after ten
years as on the first day, but a model must be trained again to keep up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlops_assets.sources.generate import DayOfData, random_stream, row_ids

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_SECONDS_PER_DAY = 86_400
_MISSING_SHARE = 0.03
_GIFT_SHARE = 0.2
# Parts of the random key. Their numbers are fixed: changing one changes every day.
_STORES, _DAY = 10, 11


@dataclass(frozen=True)
class _Number:
    """A numeric column: centre + spread * (standard normal + swing), or e to the power of that.

    `period` is the length in days of the swing of its mean, whose height is `_SWING` spreads.
    """

    centre: float
    spread: float
    decimals: int
    period: float
    low: float | None = None
    high: float | None = None
    log: bool = False
    missing: bool = False


_SWING = 0.5
_NUMBERS = {
    "order_value": _Number(4.1, 0.6, 2, 310, log=True),
    "discount_pct": _Number(18.0, 8.0, 1, 230, low=0.0, high=70.0),
    "shipping_cost": _Number(1.6, 0.4, 2, 410, log=True),
    "weight_kg": _Number(0.4, 0.7, 2, 370, log=True, missing=True),
    "delivery_days": _Number(4.0, 1.5, 1, 270, low=0.5),
    "distance_km": _Number(3.7, 0.9, 1, 530, log=True),
    "account_age_years": _Number(1.0, 0.6, 2, 610, log=True),
    "days_since_last_order": _Number(3.4, 0.9, 1, 290, log=True, missing=True),
    "average_order_value": _Number(4.0, 0.5, 2, 350, log=True),
    "past_return_rate": _Number(0.3, 0.12, 3, 330, low=0.0, high=1.0, missing=True),
    "session_minutes": _Number(2.2, 0.8, 1, 190, log=True),
    "review_score": _Number(3.8, 0.5, 1, 450, low=1.0, high=5.0, missing=True),
    "temperature_c": _Number(11.0, 6.0, 1, 365, missing=True),
    "stock_cover_days": _Number(20.0, 6.0, 1, 250, low=0.0),
}
_ROW_OF = {name: row for row, name in enumerate(_NUMBERS)}

# The signal's linear part: pairs of columns, the weight that they share, and the days it takes to pass from the first
# over the second, both with changed sign, and back to the first.
_TURNING_WEIGHTS = (
    ("discount_pct", "delivery_days", 1.5, 420.0),
    ("past_return_rate", "session_minutes", 1.3, 520.0),
    ("review_score", "order_value", 1.1, 640.0),
)

_CHANNELS = ("web", "app", "phone", "marketplace")
_CHANNEL_EFFECTS = np.array([0.0, 0.5, -0.7, 0.9])
_DEPARTMENTS = ("Fashion", "Home, garden & DIY", "Café & Küche", "Books", "Toys", "Electronics")
_DEPARTMENT_SHARES = np.array([0.3, 0.2, 0.15, 0.15, 0.1, 0.1])
_STORE_CODES = tuple(f"S{number:03}" for number in range(1, 301))
_WEEKDAY_EFFECTS = (0.2, 0.0, -0.1, -0.1, 0.0, 0.3, 0.4)  # from Monday
_BASE = -2.85  # about 25 % positives


def generate(day: date, *, seed: int, rows: int, start: date) -> DayOfData:
    """Returns one day of orders in the order of time.

    Args:
        day: The day, `start` or later.
        seed: Chooses the stores' effects and all rows.
        rows: The number of rows.
        start: The day on which the drift begins.

    Returns:
        Data: `id` (int64) and 20 features: 14 numbers, the count `items`, the categories `channel`, `department` and
        `store`, `is_gift` and the timestamp `ordered_at`. About 3 % of five of the numbers and of `department` are
        missing. Target: `id` and `target`, 1 (about 25 %) if the order is sent back.
    """
    rng = random_stream(seed, _DAY, day.toordinal())
    age = (day - start).days
    # The signal sees the numbers before their means drift, so it keeps its strength while the visible values move.
    normal = rng.standard_normal((len(_NUMBERS), rows))
    normal[_ROW_OF["average_order_value"]] *= 0.6
    normal[_ROW_OF["average_order_value"]] += 0.8 * normal[_ROW_OF["order_value"]]
    items = rng.poisson(1.5, rows).astype(np.int64) + 1
    channel = _draw_codes(rng, np.full(len(_CHANNELS), 1 / len(_CHANNELS)), rows)
    department = _draw_codes(rng, _DEPARTMENT_SHARES, rows)
    store = _draw_codes(rng, _store_shares(), rows)
    is_gift = rng.random(rows, dtype=np.float32) < _GIFT_SHARE
    second = _draw_seconds(rng, rows)

    score = _number_signal(normal, is_gift, age)
    score += (_store_effects(seed) + _BASE + _WEEKDAY_EFFECTS[day.weekday()])[store]
    score += _CHANNEL_EFFECTS[channel]
    score += _department_effects(age)[department]
    score += _hour_effects()[second // 3600]
    score += 0.25 * (items - 2.5)
    target = rng.random(rows) * (1 + np.exp(-score)) < 1

    ids = pa.array(row_ids(day, rows))
    midnight = np.datetime64(day.isoformat(), "s")
    data = {
        "id": ids,
        **{name: _number_column(number, normal[_ROW_OF[name]], age, rng) for name, number in _NUMBERS.items()},
        "items": pa.array(items),
        "channel": _text_column(_CHANNELS, channel),
        "department": _text_column(_DEPARTMENTS, department, _missing(rng, rows)),
        "store": _text_column(_STORE_CODES, store),
        "is_gift": pa.array(is_gift),
        "ordered_at": pa.array(midnight + second.astype("timedelta64[s]")),
    }
    return DayOfData(pa.table(data), pa.table({"id": ids, "target": pa.array(target.astype(np.int64))}))


def _number_signal(normal: Floats, is_gift: NDArray[np.bool_], age: int) -> Floats:
    """Returns what the numbers add to the log odds [rows]; `normal` is [numbers, rows]."""
    score: Floats = normal[_ROW_OF["weight_kg"]] * normal[_ROW_OF["distance_km"]]
    score *= 0.8
    for first, second, weight, period in _TURNING_WEIGHTS:
        angle = 2 * np.pi * age / period
        score += weight * np.cos(angle) * normal[_ROW_OF[first]]
        score += weight * np.sin(angle) * normal[_ROW_OF[second]]
    score -= 0.9 * is_gift * normal[_ROW_OF["days_since_last_order"]]
    score += 0.5 * np.abs(normal[_ROW_OF["temperature_c"]])
    return score


def _number_column(number: _Number, normal: Floats, age: int, rng: np.random.Generator) -> pa.Array:
    """Returns the visible column [rows]; overwrites `normal`, which is big and not needed any more."""
    values = normal
    values += _SWING * np.sin(2 * np.pi * age / number.period)
    values *= number.spread
    values += number.centre
    if number.log:
        np.exp(values, out=values)
    if number.low is not None or number.high is not None:
        np.clip(values, number.low, number.high, out=values)
    np.round(values, number.decimals, out=values)
    return pa.array(values, mask=_missing(rng, len(values)) if number.missing else None)


def _text_column(words: tuple[str, ...], code: Ints, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    indices = pa.array(code.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words)).dictionary_decode()


def _missing(rng: np.random.Generator, rows: int) -> NDArray[np.bool_]:
    return rng.random(rows, dtype=np.float32) < _MISSING_SHARE


def _draw_codes(rng: np.random.Generator, shares: Floats, rows: int) -> Ints:
    """Returns numbers of categories [rows], drawn with these shares.

    A table of 4,096 equally likely places makes this one look-up a row, several times faster than `Generator.choice`.
    """
    places = np.searchsorted(np.cumsum(shares), (np.arange(4096) + 0.5) / 4096 * shares.sum())
    codes: Ints = places[rng.integers(0, 4096, rows, dtype=np.uint16)]
    return codes


def _draw_seconds(rng: np.random.Generator, rows: int) -> Ints:
    """Returns ascending seconds of the day [rows]: few orders at night, most at noon and in the evening."""
    hours = np.arange(24)
    shares = 0.1 + np.exp(-(((hours - 12) / 3.5) ** 2)) + 1.3 * np.exp(-(((hours - 20) / 2.5) ** 2))
    hour = _draw_codes(rng, shares, rows)
    seconds = hour * 3600 + rng.integers(0, 3600, rows, dtype=np.uint16)
    return np.sort(seconds.astype(np.int32)).astype(np.int64)


def _hour_effects() -> Floats:
    """Returns the log odds that the hour adds [24]: orders of the late evening come back more often."""
    return 0.8 * np.cos(2 * np.pi * (np.arange(24) - 22) / 24)


def _store_shares() -> Floats:
    """Returns the share of orders of each store [300]: a few big ones, many small ones."""
    weights = 1 / (np.arange(len(_STORE_CODES)) + 30.0)
    shares: Floats = weights / weights.sum()
    return shares


def _store_effects(seed: int) -> Floats:
    return random_stream(seed, _STORES).normal(0, 0.5, len(_STORE_CODES))


def _department_effects(age: int) -> Floats:
    """Returns the log odds that each department adds [6]; fashions come and go within 480 days."""
    phase = np.arange(len(_DEPARTMENTS)) / len(_DEPARTMENTS)
    return 0.9 * np.sin(2 * np.pi * (phase + age / 480))
