"""The wheel and the source archive, as users install them: into an empty environment, with what they depend on."""

from __future__ import annotations

import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

import pushline

from .processes import Program, clean_environment, free_port
from .waiting import wait_for

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).resolve().parents[2]
STATIC: Final = ROOT / "src/pushline/static"
INSTALL_SECONDS: Final = 300


def run(*command: str, folder: Path, **more: str) -> str:
    """Run a program to its end, outside of the checkout, and return what it printed."""
    environment = clean_environment(**more)
    environment.pop("PYTHONPATH", None)  # what is installed, and nothing else
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that was made of it. The hot path stays Python: it is built
    elsewhere."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run(*command, folder=folder, PUSHLINE_COMPILE="0")
    return folder


@pytest.fixture(scope="module")
def needed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of what it depends on, and of what builds it: they are fetched once for all."""
    folder = tmp_path_factory.mktemp("needed")
    (wheel,) = built.glob("*.whl")
    python = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run(*python, "--wheel-dir", str(folder), str(wheel), "hatchling>=1.27", folder=folder)
    return folder


@pytest.fixture(scope="module", params=["whl", "tar.gz"])
def installed(
    request: pytest.FixtureRequest, built: Path, needed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The commands of an environment in which one of them was installed."""
    folder = tmp_path_factory.mktemp("environment")
    (file,) = built.glob(f"*.{request.param}")
    run(sys.executable, "-m", "venv", str(folder / "venv"), folder=folder)
    python = str(folder / "venv/bin/python")
    options = ("--quiet", "--no-compile", "--disable-pip-version-check", "--no-index", "--find-links", str(needed))
    run(python, "-m", "pip", "install", *options, str(file), folder=folder, PUSHLINE_COMPILE="0")
    return folder / "venv/bin"


class TestWhatIsInIt:
    def test_the_wheel_has_what_runs_and_no_tests(self, built: Path) -> None:
        (wheel,) = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            names = set(packed.namelist())
            served = {name: packed.read(f"pushline/static/{name}") for name in ("jsapi.js", "pushline.mjs")}
        information = f"pushline-{pushline.__version__}.dist-info"
        assert {name.split("/")[0] for name in names} == {"pushline", information}
        assert f"{information}/licenses/LICENSE" in names
        sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
        assert sources <= names
        assert {"pushline/py.typed", "pushline/examples/tictactoe/app.py"} <= names
        assert [name for name in names if "test_" in name or "conftest" in name or "__pycache__" in name] == []
        for name, script in served.items():
            assert script == (STATIC / name).read_bytes()

    def test_the_source_archive_has_what_a_wheel_is_made_of(self, built: Path) -> None:
        (archive,) = built.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            names = {name.partition("/")[2] for name in packed.getnames()}
        texts = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
        assert {name.split("/")[0] for name in names} == texts | {"examples", "src", "tools"}
        assert {"src/pushline/py.typed", "src/pushline/static/jsapi.js", "tools/hatch_build.py"} <= names
        assert [name for name in names if "test_" in name] == []


class TestInstalled:
    def test_it_says_its_version_and_what_it_needs_fits_together(self, installed: Path) -> None:
        said = run(str(installed / "pushline"), "--version", folder=installed)
        assert pushline.__version__ in said
        assert "No broken requirements" in run(str(installed / "python"), "-m", "pip", "check", folder=installed)

    def test_a_message_goes_from_the_sdk_and_from_the_shell_to_a_page(self, installed: Path, tmp_path: Path) -> None:
        command, url = str(installed / "pushline"), f"http://127.0.0.1:{free_port()}"
        key = {"PUSHLINE_URL": url, "PUSHLINE_API_KEY_FILE": str(tmp_path / "data/api-key")}
        environment = clean_environment()
        environment.pop("PYTHONPATH", None)
        serve = [command, "serve", "--listen", url.removeprefix("http://"), "--data-dir", str(tmp_path / "data")]
        server = Program(serve, tmp_path / "server.txt", environment)
        page = Program([command, "listen", "ann"], tmp_path / "page.txt", environment | key)
        server.start()
        try:
            wait_for(lambda: "serving" in server.output, lambda: server.output)
            page.start()
            listed = (command, "clients", "--connected")
            wait_for(lambda: "ann" in run(*listed, folder=tmp_path, **key), lambda: page.output)
            sent = run(command, "send", "ann", "from the shell", "--wait", "20", folder=tmp_path, **key)
            assert sent.startswith("delivered ")
            program = "from pushline import channel; print(channel.send_message('ann', 'from Python', wait=20).status)"
            assert run(str(installed / "python"), "-c", program, folder=tmp_path, **key) == "delivered\n"
            wait_for(lambda: "from Python" in page.output, lambda: page.output)
            assert page.output.index("from the shell") < page.output.index("from Python")
            with urlopen(f"{url}/_ah/channel/jsapi") as answer:  # noqa: S310
                assert answer.read() == (STATIC / "jsapi.js").read_bytes()
        finally:
            page.close(signal.SIGINT)
            server.close()
