"""The import hook, with and without Google's package (contract, Y2)."""

from __future__ import annotations

import importlib
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import pushline.appengine
from pushline.appengine import channel as ours
from pushline.appengine import stub as our_stub

CHANNEL = "google.appengine.api.channel"
TESTBED = "google.appengine.ext.testbed"

# The shape of appengine-python-standard: `google` is a namespace package, those below it are regular ones.
GOOGLE = {
    "google/appengine/__init__.py": "",
    "google/appengine/api/__init__.py": "who = 'Google'",
    "google/appengine/api/memcache.py": "who = 'Google'",
    "google/appengine/ext/__init__.py": "",
    "google/appengine/ext/testbed/__init__.py": dedent(
        """
        INIT_STUB_METHOD_NAMES = {"memcache": "init_memcache_stub"}
        SUPPORTED_SERVICES = sorted(INIT_STUB_METHOD_NAMES)


        class Testbed:
            def activate(self):
                self.stubs = {}

            def deactivate(self):
                for stub, forget in self.stubs.values():
                    forget(stub)

            def _register_stub(self, service_name, stub, deactivate_callback=None):
                self.stubs[service_name] = (stub, deactivate_callback)

            def _disable_stub(self, service_name):
                stub, forget = self.stubs.pop(service_name)
                forget(stub)

            def get_stub(self, service_name):
                if service_name not in SUPPORTED_SERVICES:
                    raise LookupError(service_name)
                return self.stubs[service_name][0]

            def init_channel_stub(self, enable=True):
                raise NotImplementedError

            def init_memcache_stub(self, enable=True):
                self._register_stub("memcache", "memcache", lambda stub: None)

            def init_all_stubs(self, enable=True):
                for service_name in SUPPORTED_SERVICES:
                    getattr(self, INIT_STUB_METHOD_NAMES[service_name])(enable)
        """
    ),
}


def lay_out(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's package is installed."""
    lay_out(tmp_path, GOOGLE)
    monkeypatch.syspath_prepend(tmp_path)


def run(program: str) -> dict[str, Any]:
    """Run a program of the old days: its names."""
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - it stands in this file
    return names


class TestWithoutTheHook:
    def test_there_is_no_channel(self) -> None:
        with pytest.raises(ModuleNotFoundError):
            import_module(CHANNEL)

    def test_google_has_none_either(self, google: None) -> None:
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'google\.appengine\.api\.channel'"):
            import_module(CHANNEL)


@pytest.mark.usefixtures("installed")
class TestEveryWayToImportIt:
    @pytest.mark.parametrize(
        "program",
        [
            "from google.appengine.api import channel",
            "from google.appengine.api import channel as channel",
            "import google.appengine.api.channel as channel",
            "import google.appengine.api.channel; channel = google.appengine.api.channel",
            "from google.appengine.api.channel import channel",
            "import google.appengine.api.channel.channel as channel",
        ],
    )
    def test_works(self, program: str) -> None:
        channel = run(program)["channel"]
        for name in ours.__all__:
            assert getattr(channel, name) is getattr(ours, name)

    def test_works_for_its_names(self) -> None:
        names = run("from google.appengine.api.channel import create_channel, send_message, Error")
        assert names["create_channel"] is ours.create_channel

    def test_works_for_all_of_its_names(self) -> None:
        names = run("from google.appengine.api.channel import *")
        assert set(ours.__all__) < set(names)

    def test_gives_a_module_of_the_old_name_with_the_old_names(self) -> None:
        channel = import_module(CHANNEL)
        assert channel.__name__ == CHANNEL
        assert channel.__doc__ == ours.__doc__
        assert {name for name in vars(channel) if name[0] != "_"} == {*ours.__all__}

    def test_works_for_the_errors_of_the_stub(self) -> None:
        names = run("from google.appengine.api.channel import channel_service_stub as stub")
        assert names["stub"].InvalidTokenError is our_stub.InvalidTokenError

    def test_gives_one_module_that_a_test_can_patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[str, str]] = []
        monkeypatch.setattr(f"{CHANNEL}.send_message", lambda to, message: seen.append((to, message)))
        run("from google.appengine.api import channel; channel.send_message('ann', 'hello')")
        assert seen == [("ann", "hello")]


@pytest.mark.usefixtures("installed")
class TestWithoutGoogle:
    def test_there_is_nothing_else(self) -> None:
        with pytest.raises(ModuleNotFoundError):
            import_module("google.appengine.api.memcache")
        with pytest.raises(ModuleNotFoundError):
            import_module("google.protobuf")

    def test_what_others_have_under_their_name_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lay_out(tmp_path, {"google/protobuf/__init__.py": "who = 'protobuf'"})
        monkeypatch.syspath_prepend(tmp_path)
        import_module(CHANNEL)
        assert import_module("google.protobuf").who == "protobuf"


@pytest.mark.usefixtures("google")
class TestWithGoogle:
    def test_its_modules_stay_as_they_are(self, installed: None) -> None:
        names = run("from google.appengine.api import channel, memcache; import google.appengine.api as api")
        assert (names["memcache"].who, names["api"].who) == ("Google", "Google")
        assert names["api"].channel is names["channel"]

    def test_its_modules_may_be_there_before_the_hook(self) -> None:
        api = import_module("google.appengine.api")
        pushline.appengine.install()
        assert run("from google.appengine.api import channel")["channel"] is api.channel

    def test_its_testbed_learns_the_channel_and_keeps_the_rest(self, installed: None) -> None:
        self.try_testbed(import_module(TESTBED))

    def test_its_testbed_may_be_there_before_the_hook(self) -> None:
        testbed = import_module(TESTBED)
        pushline.appengine.install()
        self.try_testbed(testbed)

    def test_its_testbed_is_still_found_by_tools(self, installed: None) -> None:
        spec = importlib.util.find_spec(TESTBED)
        assert spec is not None
        assert spec.origin is not None
        assert spec.origin.endswith("testbed/__init__.py")

    def try_testbed(self, testbed: Any) -> None:
        channel = import_module(CHANNEL)
        bed = testbed.Testbed()
        bed.activate()
        bed.init_all_stubs()
        assert bed.get_stub("memcache") == "memcache"
        token = channel.create_channel("ann")
        bed.get_stub("channel").connect_channel(token)
        channel.send_message("ann", "hello")
        assert bed.get_stub("channel").get_channel_messages(token) == ["hello"]
        bed.deactivate()


def test_doing_it_again_changes_nothing() -> None:
    pushline.appengine.install()
    finders = list(sys.meta_path)
    pushline.appengine.install()
    assert sys.meta_path == finders


def test_it_loads_nothing_that_is_not_used() -> None:
    heavy = {"pushline.appengine.stub", "pushline.hub", "httptools"}
    before = heavy & set(sys.modules)
    pushline.appengine.install()
    assert heavy & set(sys.modules) == before
