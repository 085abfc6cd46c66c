"""One number for what a model has learned: equal content, equal digest, in every process and after every dump and load.

`joblib.hash` was tried first and does not survive a skops round trip. Here every value is reduced to a tagged,
length-prefixed byte string: dicts sorted, arrays as type, shape and bytes of each field (padding never counts), numpy
scalars as Python's, objects as class name and attributes, functions as qualified name. No memory address, time, hash
seed or library version gets in.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    from sklearn.pipeline import Pipeline

# The version is written by BaseEstimator.__getstate__, so it appears after loading only; the number of OpenMP threads
# that fitted a model does not change what it learned.
_NOT_LEARNED = frozenset({"_sklearn_version", "n_threads"})


def model_digest(pipeline: Pipeline) -> str:
    """SHA-256 (hex) over everything a fitted pipeline holds: hyper-parameters, categories, every fitted number.

    Raises:
        TypeError: The pipeline holds an object that cannot be reduced to bytes.
    """
    return _encode(pipeline, ()).hex()


def _encode(value: object, parents: tuple[int, ...]) -> bytes:
    """Digest of one value; its type is part of it."""
    plain = _plain(value)
    if plain is not None:
        return _hash(*plain)
    if id(value) in parents:
        # A cycle: its position is content, its address is not.
        return _hash(b"cycle", str(len(parents) - parents.index(id(value))).encode())
    return _container(value, lambda child: _encode(child, (*parents, id(value))))


def _plain(value: object) -> tuple[bytes, bytes] | None:  # noqa: PLR0911 (one return a type)
    """Tag and bytes of a scalar, or ``None`` for everything with parts."""
    import numpy as np

    if isinstance(value, np.generic) and value.dtype.kind in "biufUS":
        value = value.item()
    if value is None or value is Ellipsis or isinstance(value, bool):
        return b"constant", repr(value).encode()
    if isinstance(value, int):
        return b"int", str(int(value)).encode()
    if isinstance(value, float):
        return b"float", b"nan" if value != value else struct.pack("<d", value)  # noqa: PLR0124 (nan is the only value unlike itself)
    if isinstance(value, str):
        return b"str", str(value).encode("utf-8", "surrogatepass")
    if isinstance(value, bytes | bytearray):
        return b"bytes", bytes(value)
    if isinstance(value, np.dtype):
        return b"dtype", repr(np.lib.format.dtype_to_descr(value)).encode()
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        return b"name", _name(value).encode()
    return None


def _container(value: Any, encode: Callable[[object], bytes]) -> bytes:  # noqa: PLR0911 (one return a type)
    """Digest of anything that has parts."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return _array(value, encode)
    if isinstance(value, Mapping):
        tag = b"dict" if type(value) is dict else _name(type(value)).encode()
        return _hash(tag, *sorted(encode(key) + encode(item) for key, item in value.items()))
    if isinstance(value, set | frozenset):
        return _hash(b"set", *sorted(encode(item) for item in value))
    if isinstance(value, list | tuple):
        return _hash(b"list" if isinstance(value, list) else b"tuple", *map(encode, value))
    if isinstance(value, slice | range):
        return _hash(type(value).__name__.encode(), *map(encode, (value.start, value.stop, value.step)))
    if isinstance(value, functools.partial):
        return _hash(b"partial", *map(encode, (value.func, value.args, value.keywords)))
    if isinstance(value, np.generic):
        return _array(np.asarray(value), encode)
    return _hash(b"object", _name(type(value)).encode(), encode(_state(value)))


def _array(array: npt.NDArray[Any], encode: Callable[[object], bytes]) -> bytes:
    import numpy as np

    shape = repr(array.shape).encode()
    if array.dtype.names:
        fields = sorted(array.dtype.names)
        return _hash(b"record", shape, *(part for name in fields for part in (name.encode(), encode(array[name]))))
    if array.dtype == object:
        return _hash(b"objects", shape, *map(encode, array.ravel().tolist()))
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return _hash(b"array", little.dtype.str.encode(), shape, little.tobytes())


def _state(value: Any) -> object:
    """What an object consists of, without anything that depends on where or when it lives."""
    import numpy as np

    if isinstance(value, np.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if hasattr(value, "__dict__"):
        return {name: part for name, part in vars(value).items() if name not in _NOT_LEARNED}
    return _reduced(value)


def _reduced(value: Any) -> object:
    """State of an extension type (a tree, a loss) as its own pickling support gives it."""
    reduced = value.__reduce__()
    if isinstance(reduced, str):
        raise TypeError(f"A model cannot hold a {_name(type(value))}: it has no content to compute a digest from.")
    function, arguments = reduced[:2]
    if function.__name__.startswith("__pyx_unpickle"):
        # Class and a checksum of Cython's that may differ between builds; only what follows is content.
        arguments = arguments[2:]
    elif not isinstance(function, type):
        raise TypeError(f"A model cannot hold a {_name(type(value))}: the digest of such objects is not defined.")
    return [arguments, *(part for part in reduced[2:] if part)]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', None) or value.__name__}"


def _hash(tag: bytes, *parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts, so that no two sequences look alike."""
    digest = hashlib.sha256()
    for part in _prefixed((tag, *parts)):
        digest.update(part)
    return digest.digest()


def _prefixed(parts: Iterable[bytes]) -> Iterable[bytes]:
    for part in parts:
        yield struct.pack("<Q", len(part))
        yield part
