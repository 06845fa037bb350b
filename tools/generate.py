"""Writes every file that is made from another one. ``make generate``; ``--check`` only says which are stale.

spec/codes.json → src/pushline/protocol/codes.py, js/src/codes.js, docs/reference/codes.md
the settings table (src/pushline/settings.py) → docs/reference/settings.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pushline.settings import OF_A_SERVER_ALONE, settings_table

ROOT = Path(__file__).resolve().parent.parent
NOTE = "Generated from {source} by `make generate`. Do not edit."


def codes() -> Any:
    return json.loads((ROOT / "spec/codes.json").read_text(encoding="utf-8"))


def codes_py() -> str:
    lines = [
        f"# {NOTE.format(source='spec/codes.json')}",
        '"""Every close code (contract, W8) and every problem code (section 4)."""',
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass",
        "from types import MappingProxyType",
        "from typing import Final",
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class CloseCode:",
        '    """How a connection ends: ``ends`` says that the socket ends with it; ``http`` is the same on HTTP.',
        "",
        "    ``sentence`` says what has happened, ``client`` what a client does then.",
        '    """',
        "",
        "    code: int",
        "    name: str",
        "    http: int | None",
        "    ends: bool",
        "    sentence: str",
        "    client: str",
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class ProblemCode:",
        '    """How a request is refused: the stable name, the HTTP status and the title."""',
        "",
        "    code: str",
        "    status: int",
        "    title: str",
        "",
        "",
    ]
    for row in codes()["closes"]:
        lines.append(f"{row['name'].upper()}: Final = {row['code']}")
    lines += ["", "CLOSES: Final = MappingProxyType(", "    {"]
    for row in codes()["closes"]:
        args = ", ".join(
            [
                row["name"].upper(),
                *(repr(row[key]).replace("'", '"') for key in ("name", "http", "ends", "sentence", "client")),
            ]
        )
        lines.append(f"        {row['name'].upper()}: CloseCode({args}),")
    lines += ["    }", ")", "", "PROBLEMS: Final = MappingProxyType(", "    {"]
    for row in codes()["problems"]:
        quoted = [json.dumps(row["code"]), str(row["status"]), json.dumps(row["title"])]
        lines.append(f"        {quoted[0]}: ProblemCode({', '.join(quoted)}),")
    lines += ["    }", ")", ""]
    return "\n".join(lines)


def codes_js() -> str:
    lines = [
        f"// {NOTE.format(source='spec/codes.json')}",
        "",
        "/**",
        " * What `onerror` is told at each close code that ends the socket (contract, W8).",
        " * @type {Readonly<Record<number, {code: number, description: string}>>}",
        " */",
        "export const ENDINGS = {",
    ]
    for row in codes()["closes"]:
        if error := row["onerror"]:
            told = f"{{ code: {error['code']}, description: {json.dumps(error['description'])} }}"
            lines.append(f"  {row['code']}: {told},")
    return "\n".join([*lines, "};", ""])


def codes_md() -> str:
    lines = [
        f"<!-- {NOTE.format(source='spec/codes.json')} -->",
        "",
        "# Codes",
        "",
        "## Close codes",
        "",
        "How a connection of a page ends. Every 44xx ends the socket; every other code means: come back and resume.",
        "",
        "| code | name | HTTP | the page's `onerror` | meaning | what a client does |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in codes()["closes"]:
        error = f"{row['onerror']['code']} `{row['onerror']['description']}`" if row["onerror"] else "–"
        cells = [row["code"], f"`{row['name']}`", row["http"] or "–", error, row["sentence"], row["client"]]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    lines += [
        "",
        "## Problem codes",
        "",
        "How a request of the application is refused: an RFC 9457 problem with this `code`.",
        "",
        "| status | code | title | what a client does |",
        "| --- | --- | --- | --- |",
    ]
    for row in codes()["problems"]:
        lines.append(f"| {row['status']} | `{row['code']}` | {row['title']} | {row['client']} |")
    return "\n".join([*lines, ""])


def settings_md() -> str:
    not_of_run = [f"`{setting.flag}`" for setting in settings_table() if setting.name in OF_A_SERVER_ALONE]
    lines = [
        f"<!-- {NOTE.format(source='src/pushline/settings.py')} -->",
        "",
        "# Settings",
        "",
        "Every setting of `pushline serve`. A flag wins over its environment variable, the variable over the default.",
        f"`pushline run` has them too, but for {', '.join(not_of_run)}.",
        "",
        "| flag | variable | default | what it does |",
        "| --- | --- | --- | --- |",
    ]
    for setting in settings_table():
        default = f"`{setting.shown_default}`" if setting.shown_default else "–"
        lines.append(f"| `{setting.flag}` | `{setting.variable}` | {default} | {setting.help} |")
    return "\n".join([*lines, ""])


FILES: dict[str, Callable[[], str]] = {
    "src/pushline/protocol/codes.py": codes_py,
    "js/src/codes.js": codes_js,
    "docs/reference/codes.md": codes_md,
    "docs/reference/settings.md": settings_md,
}


def main() -> int:
    stale = []
    for name, make in FILES.items():
        path, text = ROOT / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"stale: {name}; run `make generate`" if "--check" in sys.argv else f"written: {name}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
