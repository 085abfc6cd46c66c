"""Lines of a container's output, in bounded memory whatever it prints."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from typing import TextIO

LINE_BYTES = 1 << 20
MESSAGE_BYTES = 16 << 20
SHOWN_BYTES = 64 << 20
_LAST_LINES = 20
_LINE_SHOWN = 500


class Lines:
    """Whole lines from pieces that end anywhere; what is longer than ``limit`` bytes is cut."""

    def __init__(self, limit: int) -> None:
        """Start with an empty line."""
        self._limit, self._line, self._length = limit, bytearray(), 0

    def ended(self, piece: bytes) -> list[str]:
        """The lines that end in this piece, without their line breaks."""
        *ended, rest = piece.split(b"\n")
        lines = []
        for text in ended:
            self._add(text)
            lines.append(self._take())
        self._add(rest)
        return lines

    def rest(self) -> list[str]:
        """The last line, if no line break ended it."""
        return [self._take()] if self._length else []

    def _add(self, text: bytes) -> None:
        self._length += len(text)
        self._line += text[: self._limit - len(self._line)]

    def _take(self) -> str:
        line = self._line.decode(errors="replace")
        cut = self._length - len(self._line)
        self._line, self._length = bytearray(), 0
        return f"{line} … ({cut:,} bytes more)" if cut else line


class PassedOn:
    """Lines that are written to a stream of ours, where Dagster keeps them as the step's compute log; not too many."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._shown = 0

    def write(self, lines: Sequence[str], stream: TextIO) -> None:
        """Write these lines, or that there are too many."""
        if not lines or self._shown > SHOWN_BYTES:
            return
        text = "\n".join((*lines, ""))
        self._shown += len(text)
        if self._shown > SHOWN_BYTES:
            text += f"(the step has printed more than {SHOWN_BYTES >> 20} MiB: the rest is not shown)\n"
        stream.write(text)


class Log:
    """A container's standard error: passed on to ours, where Dagster keeps it as the step's compute log."""

    def __init__(self, *, echo: bool) -> None:
        """Start empty; with ``echo`` False lines are kept and not passed on."""
        self._echo, self._passed_on = echo, PassedOn()
        self._lines = Lines(LINE_BYTES)
        self.last: deque[str] = deque(maxlen=_LAST_LINES)

    def add(self, piece: bytes) -> None:
        """Take the next piece of output."""
        self._pass_on(self._lines.ended(piece))

    def end(self) -> None:
        """There is no more."""
        self._pass_on(self._lines.rest())

    def _pass_on(self, lines: list[str]) -> None:
        self.last.extend(line[:_LINE_SHOWN] for line in lines[-_LAST_LINES:] if line.strip())
        if self._echo:
            self._passed_on.write(lines, sys.stderr)
