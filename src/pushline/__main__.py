"""``python -m pushline``: the commands."""

from pushline.cli import main

main(prog_name="pushline")
