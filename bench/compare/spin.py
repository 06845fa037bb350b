"""Keeps a CPU awake, in whatever time nothing else wants (SCHED_IDLE), until the process that started it is gone."""

from __future__ import annotations

import os


def main() -> None:
    parent = os.getppid()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(flush=True)
    while os.getppid() == parent:
        pass


if __name__ == "__main__":
    main()
