"""What the processes of a server take of the machine, from ``/proc`` (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .faults import LoadFault

_OWN: Final = re.compile(r"^Pss_(?:Anon|Shmem): +(\d+) kB", re.MULTILINE)


class ProcessTree:
    """A process and all that it has started."""

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self._pid = pid
        self._proc = proc

    def cpu_seconds(self) -> float:
        """What all their threads have taken so far. Raises :class:`LoadFault` when the process is not there."""
        total = 0
        for folder in self._members():
            for schedule in folder.glob("task/*/schedstat"):
                try:
                    total += int(schedule.read_text().split()[0])
                except (OSError, IndexError):  # the thread has ended
                    continue
        return total / 1e9

    def memory_kib(self) -> float:
        """Their memory, in which what several share counts once (PSS), without files. Raises :class:`LoadFault`.

        Programs and libraries are files: how much of them counts depends on who else on the machine has them open.
        """
        total = 0
        for folder in self._members():
            try:
                total += sum(int(size) for size in _OWN.findall((folder / "smaps_rollup").read_text()))
            except PermissionError:
                raise LoadFault(
                    f"The memory of process {folder.name} may be read by its user and root alone."
                ) from None
        return float(total)

    def _members(self) -> Iterator[Path]:
        children: dict[int, list[int]] = {}
        for stat in self._proc.glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:  # it has ended
                continue
            parent = int(text.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
        if not (self._proc / str(self._pid)).is_dir():
            raise LoadFault(f"There is no process {self._pid}.")
        waiting = [self._pid]
        while waiting:
            pid = waiting.pop()
            waiting += children.get(pid, [])
            yield self._proc / str(pid)
