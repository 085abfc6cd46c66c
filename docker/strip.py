"""Cuts symbol tables off the shared libraries below a folder: what comes after the last loaded byte of an ELF file.

The images have no `strip`, and the loader looks at no section: a tenth of the packages' size is of use to debuggers
only.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

_SECTIONS = slice(40, 48), slice(58, 64)  # where the header has the section table: its place; its entries


def strip(path: Path) -> None:
    """Cut one file, if it is an ELF file of 64 bits."""
    data = bytearray(path.read_bytes())
    if data[:6] != b"\x7fELF\x02\x01":
        return
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = (struct.unpack_from("<8xQ16xQ", data, table + size * number) for number in range(count))
    for place in _SECTIONS:
        data[place] = bytes(place.stop - place.start)
    path.write_bytes(data[: max(start + length for start, length in segments)])


if __name__ == "__main__":
    for library in Path(sys.argv[1]).rglob("*.so*"):
        if library.is_file() and not library.is_symlink():
            strip(library)
