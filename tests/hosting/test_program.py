"""The application of `pushline run`: how it is named, found, and told to be WSGI or ASGI (contract, R5)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware

from pushline.errors import ConfigurationError
from pushline.hosting.program import find, load, speaks_asgi

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the current directory. What was imported is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)

    def write(**modules: str) -> None:
        for name, text in modules.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refusal(name: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(name)
    return caught.value


WSGI = "def app(environ, start_response): ...\n"
ASGI = "async def app(scope, receive, send): ...\n"


class TestLoading:
    def test_takes_an_asgi_application_as_it_is(self, write: Write) -> None:
        write(one_asgi=ASGI)
        assert load("one_asgi:app") is sys.modules["one_asgi"].app

    def test_adapts_a_wsgi_application(self, write: Write) -> None:
        write(one_wsgi=WSGI)
        program = load("one_wsgi:app")
        assert isinstance(program, WSGIMiddleware)
        assert program.app is sys.modules["one_wsgi"].app

    def test_finds_what_lies_deeper(self, write: Write) -> None:
        write(deep__main=f"class Site:\n    @staticmethod\n    {ASGI}")
        assert load("deep.main:Site.app") is sys.modules["deep.main"].Site.app

    def test_calls_a_function_that_makes_it(self, write: Write) -> None:
        write(made=f"def create_app():\n    {WSGI}    return app\n")
        program = load("made:create_app()")
        assert isinstance(program, WSGIMiddleware)
        assert program.app.__name__ == "app"

    def test_lets_the_import_of_app_engines_time_work(self, write: Write) -> None:
        write(old=f"from google.appengine.api import channel\n{WSGI}")
        load("old:app")
        assert sys.modules["old"].channel.MAXIMUM_CLIENT_ID_LENGTH == 256

    def test_looks_in_the_current_directory_first_and_once(self, write: Write, tmp_path: Path) -> None:
        write(twice=ASGI)
        load("twice:app")
        load("twice:app")
        assert sys.path[0] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1

    def test_finding_imports_nothing(self, write: Write) -> None:
        write(untouched="1 / 0\n")
        assert find("untouched:app")["path"] == "app"
        assert "untouched" not in sys.modules


class TestRefusals:
    """What cannot be loaded is said in a sentence that says what to do."""

    @pytest.mark.parametrize(
        "name", ["main", "main.py:app", "main:", ":app", "src/main:app", "main:app()()", "a b:app"]
    )
    def test_of_what_is_no_name(self, write: Write, name: str) -> None:
        assert str(refusal(name)).startswith(f"{name} is not of the form MODULE:APP. For `app` in hello.py write")

    @pytest.mark.parametrize(("name", "missing"), [("nothing:app", "nothing"), ("there.nothing:app", "there.nothing")])
    def test_of_a_module_that_is_not_there(self, write: Write, tmp_path: Path, name: str, missing: str) -> None:
        write(there__other="")
        error = refusal(name)
        assert str(error) == f"There is no module {missing}. It is looked for in {tmp_path}: go to where it is."
        assert error.__cause__ is None

    def test_of_a_module_that_needs_another_one(self, write: Write) -> None:
        write(needs="import no_such_package\n")
        sentence = "needs needs the module no_such_package. If it is a package, install it where Pushline is installed."
        assert str(refusal("needs:app")) == sentence

    def test_of_an_attribute_that_is_not_there(self, write: Write) -> None:
        write(
            other="class Site:\n    def __call__(self, environ, start_response): ...\nsite = Site()\n_hidden = Site()\n"
        )
        assert str(refusal("other:app")) == "other has no `app`. Did you mean `other:site`?"
        write(empty="")
        assert str(refusal("empty:app")) == "empty has no `app`."

    @pytest.mark.parametrize("code", ["app = undefined\n", "def app(\n"])
    def test_of_a_module_that_breaks_with_a_traceback_of_its_own_code(self, write: Write, code: str) -> None:
        write(broken=code)
        error = refusal("broken:app")
        assert str(error).startswith("broken cannot be imported (")
        assert error.__cause__ is not None
        trace = error.__cause__.__traceback__
        assert trace is None or trace.tb_frame.f_code.co_filename.endswith("broken.py")

    def test_of_a_factory_that_breaks(self, write: Write) -> None:
        write(factory="def create_app(): return 1 / 0\napp = 1\n")
        error = refusal("factory:create_app()")
        assert str(error) == "factory:create_app() failed (ZeroDivisionError): the lines above say where."
        assert isinstance(error.__cause__, ZeroDivisionError)
        assert str(refusal("factory:app()")) == "factory:app() cannot be called: write it without `()`."

    def test_of_what_is_no_application(self, write: Write) -> None:
        write(number="app = 1\n")
        assert str(refusal("number:app")).startswith("number:app is neither a WSGI nor an ASGI application")

    def test_of_an_application_with_pushline_mounted(self, write: Write) -> None:
        write(mounted=f"from pushline.asgi import Pushline\n{ASGI}app = Pushline(store='memory').mount(app)\n")
        assert "has Pushline mounted already" in str(refusal("mounted:app"))


class _Async:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class _Awaited:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Any: ...


class _Sync:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


def _passes_on(scope: Any, receive: Any, send: Any, more: Any = None) -> Awaitable[None]:
    return _Async()(scope, receive, send)


@pytest.mark.parametrize(
    "application", [_Async(), _Async().__call__, _Awaited, _passes_on, functools.partial(_passes_on)]
)
def test_what_takes_three_arguments_or_is_a_coroutine_speaks_asgi(application: Callable[..., object]) -> None:
    assert speaks_asgi(application)


@pytest.mark.parametrize(
    "application", [_Sync(), _Sync().__call__, lambda environ, start: [], lambda *_: [], dict.update, max]
)
def test_everything_else_speaks_wsgi(application: Callable[..., object]) -> None:
    assert not speaks_asgi(application)
