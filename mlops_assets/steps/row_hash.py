"""What the steps ask of rows: their hash, whether they repeat, how the classes are balanced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
"""Larger numbers count as infinite: sums over them overflow, and trees store thresholds as 32-bit floats."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MISSING = np.uint64(0x5851F42D4C957F2D)
_FIRST_BYTES = np.array([2 ** (8 * count) - 1 for count in range(9)], dtype=np.uint64)
_EXACT_IN_FLOAT = 2**53  # beyond that neighbouring integers are the same float


def row_hashes(table: pa.Table) -> NDArray[np.uint64]:
    """A 64-bit hash of each row that depends on its values only.

    Not on the day, the row's place, the process or the platform. Numbers are hashed by value: ``1`` and ``1.0`` are
    the same. The mixing is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).

    Args:
        table: n rows; columns count in their order.

    Returns:
        Shape (n,).
    """
    hashes = np.zeros(table.num_rows, dtype=np.uint64)
    for column in table.columns:
        hashes = _mix(hashes * np.uint64(31) + _column_hashes(column.combine_chunks()))
    return hashes


def duplicates_of(table: pa.Table) -> NDArray[np.bool_]:
    """Which rows repeat an earlier row exactly. Shape (n,)."""
    hashes = row_hashes(table)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    earlier = first[group]
    suspects = np.flatnonzero(earlier != np.arange(len(hashes)))
    result = np.zeros(len(hashes), dtype=bool)
    if len(suspects):  # equal hashes are almost certainly equal rows; make certain
        left, right = table.take(suspects), table.take(earlier[suspects])
        same = [_same(one, other) for one, other in zip(left.columns, right.columns, strict=True)]
        result[suspects] = np.logical_and.reduce(same)
    return result


# Arrow's own ways to and from numpy and Python (`to_numpy`, `array`, `scalar`) first import pandas, which is a third of
# the processor time of a cold step that has no other use for it. So the steps before training look into the buffers.


def mask_array(mask: NDArray[np.bool_]) -> pa.BooleanArray:
    """A mask for Arrow."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])


def valid_in(column: pa.Array) -> NDArray[np.bool_]:
    """Shape (n,), whether there is a value."""
    if not column.null_count:
        return np.ones(len(column), dtype=bool)
    valid = column.is_valid()
    bits = np.unpackbits(np.frombuffer(valid.buffers()[1], dtype=np.uint8), bitorder="little")
    return bits[valid.offset : valid.offset + len(column)].view(np.bool_)


def numbers_in(column: pa.Array) -> NDArray[Any]:
    """Shape (n,), the integers or doubles of a column; where one is missing, whatever lies in its place."""
    content, dtype = column.buffers()[1], np.dtype(str(column.type))
    if content is None:
        return np.zeros(len(column), dtype)
    return np.frombuffer(content, dtype)[column.offset : column.offset + len(column)]


def as_words(values: pa.ChunkedArray | pa.Scalar) -> Any:
    """Dates and times as words, for people; all else as it is.

    Python's dates have no year 0, and without pandas no nanoseconds.
    """
    if pa.types.is_timestamp(values.type):  # with a zone, Arrow would look for the zone's rules
        values = values.cast(pa.timestamp(values.type.unit))
    return values.cast(pa.string()) if pa.types.is_temporal(values.type) else values


def class_balance(target: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each class, by label."""
    counts = pc.value_counts(target.combine_chunks()).to_pylist()
    return {str(one["values"]): one["counts"] for one in sorted(counts, key=lambda one: str(one["values"]))}


def _column_hashes(column: pa.Array) -> NDArray[np.uint64]:
    valid = valid_in(column)
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        words = _word_hashes(encoded.dictionary)
        words = words if len(words) else np.zeros(1, dtype=np.uint64)  # all missing
        hashes = words[np.where(valid, numbers_in(encoded.indices), 0)]
    else:
        hashes = _mix(_number_bits(column))
    return np.where(valid, hashes, _MISSING)


def _number_bits(column: pa.Array) -> NDArray[np.uint64]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    if pa.types.is_integer(column.type):
        integers = numbers_in(column)
        # Value by value: how a value is hashed must not depend on which others there are.
        exact = (integers >= -_EXACT_IN_FLOAT) & (integers <= _EXACT_IN_FLOAT)
        return np.where(exact, integers.astype(np.float64).view(np.uint64), integers.view(np.uint64))
    numbers = numbers_in(column.cast(pa.float64()))
    return (numbers + 0.0).view(np.uint64)  # adding 0.0 makes -0.0 and 0.0 the same


def _word_hashes(words: pa.StringArray) -> NDArray[np.uint64]:
    """A hash of each word's UTF-8 bytes: eight at a time, for all words at once. Shape (n,)."""
    if not len(words):
        return np.zeros(0, dtype=np.uint64)
    offsets = np.frombuffer(words.buffers()[1], dtype=np.int32)[words.offset : words.offset + len(words) + 1]
    text = bytes(memoryview(words.buffers()[2] or b"")[offsets[0] : offsets[-1]]) + bytes(8)
    # One number for the eight bytes that begin at each byte: numpy need not gather them one by one.
    eight_from = np.ndarray(len(text) - 7, dtype="<u8", buffer=text, strides=(1,))
    lengths = np.diff(offsets).astype(np.int64)
    hashes = _mix(lengths.astype(np.uint64))
    starts = (offsets[:-1] - offsets[0]).astype(np.int64)
    for place in range(0, int(lengths.max()), 8):
        rows = np.flatnonzero(lengths > place)
        eight = eight_from[starts[rows] + place] & _FIRST_BYTES[np.minimum(lengths[rows] - place, 8)]
        hashes[rows] = _mix(hashes[rows] * np.uint64(31) + eight.astype(np.uint64))
    return hashes


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
    return bits ^ (bits >> np.uint64(31))


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    both_missing = pc.and_(one.is_null(), other.is_null())
    equal = pc.fill_null(pc.equal(one, other), False)
    return np.asarray(pc.or_(equal, both_missing).to_numpy())
