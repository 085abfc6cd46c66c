"""Identifies a process, also after its number was given to another one."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def process_tag(pid: int | None = None) -> str:
    """The tag of a process: ``host/process namespace/pid/start time``."""
    pid = os.getpid() if pid is None else pid
    return f"{_here()}/{pid}/{_start_time(pid)}"


def is_gone(tag: str) -> bool:
    """Whether a process is certainly gone; of another host's or container's process this is unknown."""
    here, _, rest = tag.rpartition("/")[0].rpartition("/")
    return here == _here() and rest.isdigit() and process_tag(int(rest)) != tag


def _here() -> str:
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}/{namespace}"


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()  # from field 3 of proc(5) on, after the name in parentheses
    # A dead child may never be collected, such as in a container without an init process.
    return "gone" if fields[0] in "ZX" else fields[19]
