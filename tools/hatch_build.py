"""Has mypyc compile the modules of the hot path for the wheel, where there is a C compiler.

Elsewhere they stay Python. pyproject.toml lists the modules; both forms are in the wheel, and Python prefers the
compiled one. An editable install is never compiled. ``PUSHLINE_COMPILE=0`` leaves everything Python;
``PUSHLINE_COMPILE=1`` fails when it cannot compile, which is a warning otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WISH = os.environ.get("PUSHLINE_COMPILE", "")
MYPYC = "mypy[mypyc]~=2.4"


def compiles() -> bool:
    """Whether this machine can compile extensions of this Python, or was told to."""
    if WISH:
        return WISH != "0"
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


class CompileHook(BuildHookInterface[Any]):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling: the compiler, and for its types what the modules import."""
        return [MYPYC, *self.metadata.core.dependencies] if compiles() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put what came of it into the wheel."""
        if version == "editable" or not compiles():
            return
        self._folder = folder = TemporaryDirectory()
        made = subprocess.run(  # noqa: S603 - a process of its own, since setuptools takes over the one it runs in
            [sys.executable, __file__, folder.name, *self.config["modules"]], cwd=Path(self.root, "src"), check=False
        )
        if made.returncode == 0:
            libraries = Path(folder.name, "lib")
            for library in libraries.rglob("*.so"):
                build_data["force_include"][str(library)] = str(library.relative_to(libraries))
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
        elif WISH:
            raise SystemExit("The hot path could not be compiled: see above.")
        else:
            self.app.display_warning(
                "The hot path could not be compiled (see above): it stays Python, which is slower."
            )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Tidy up."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def main(folder: str, *modules: str) -> None:
    """Compile modules of the current folder into ``folder``/lib."""
    from mypyc.build import mypycify
    from setuptools import setup  # type: ignore[import-untyped]

    options = ["--config-file=", "--strict", f"--cache-dir={folder}/cache"]
    extensions = mypycify(
        [*options, *modules], opt_level="3", debug_level="0", group_name="pushline", target_dir=folder
    )
    for extension in extensions:
        extension.extra_link_args = ["-s"]
    setup(
        name="pushline",
        packages=[],
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", f"--build-lib={folder}/lib", f"--build-temp={folder}/temp"],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
