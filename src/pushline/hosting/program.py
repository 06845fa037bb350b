"""The application that ``pushline run`` serves: found by its name, and made an ASGI program if it is a WSGI one."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType, TracebackType
from typing import Any, Final

from a2wsgi import WSGIMiddleware

import pushline.appengine
from pushline.asgi import Pushline
from pushline.errors import ConfigurationError
from pushline.server.asgi_wire import Program
from pushline.server.mounted import Mounted

_NAME: Final = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<path>\w+(?:\.\w+)*)(?P<call>\(\))?")
_ASGI_ARGUMENTS: Final = 3
"""An ASGI program is called with scope, receive and send, a WSGI program with two arguments."""


def find(name: str) -> re.Match[str]:
    """The parts of ``MODULE:APP``, whose module there is. Nothing is imported.

    Raises :class:`ConfigurationError` when the name is not of that form, or there is no such module.
    """
    parts = _NAME.fullmatch(name)
    if parts is None or parts["module"].endswith(".py"):
        raise ConfigurationError(
            f"{name} is not of the form MODULE:APP. For `app` in hello.py write `hello:app`; "
            "for what a function of it makes, `hello:create_app()`."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    first = parts["module"].partition(".")[0]
    if find_spec(first) is None:
        raise _no_module(first)
    return parts


def load(name: str) -> Program:
    """Import ``MODULE`` from the current directory, and return its ``APP`` as an ASGI program.

    The old import ``google.appengine.api.channel`` works from here on. Raises :class:`ConfigurationError`; when code of
    the application broke, its exception is the cause.
    """
    parts = find(name)
    pushline.appengine.install()
    module = _import(parts["module"])
    found: Any = module
    for attribute in parts["path"].split("."):
        if not hasattr(found, attribute):
            raise ConfigurationError(f"{parts['module']} has no `{parts['path']}`.{_hint(module)}")
        found = getattr(found, attribute)
    if parts["call"]:
        found = _make(found, name)
    if isinstance(found, Mounted | Pushline):
        raise ConfigurationError(f"{name} has Pushline mounted already: serve it by itself, as by `uvicorn {name}`.")
    if not callable(found):
        raise ConfigurationError(f"{name} is neither a WSGI nor an ASGI application: it cannot be called.")
    return found if speaks_asgi(found) else WSGIMiddleware(found)


def speaks_asgi(application: Callable[..., object]) -> bool:
    """Whether it is an ASGI application, and not a WSGI one."""
    if inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(
        getattr(application, "__call__", None)  # noqa: B004 - what it is, not whether it is
    ):
        return True
    try:
        parameters = inspect.signature(application).parameters.values()
    except (TypeError, ValueError):  # written in C
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind <= each.POSITIONAL_OR_KEYWORD]
    return len(needed) == _ASGI_ARGUMENTS


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if name == missing or name.startswith(f"{missing}."):
            raise _no_module(missing) from None
        sentence = f"{name} needs the module {missing}. If it is a package, install it where Pushline is installed."
        raise ConfigurationError(sentence) from _of_the_application(error)
    except Exception as error:
        sentence = f"{name} cannot be imported ({type(error).__name__}): the lines above say where."
        raise ConfigurationError(sentence) from _of_the_application(error)


def _no_module(name: str) -> ConfigurationError:
    return ConfigurationError(f"There is no module {name}. It is looked for in {os.getcwd()}: go to where it is.")


def _make(factory: object, name: str) -> Any:
    if not callable(factory):
        raise ConfigurationError(f"{name} cannot be called: write it without `()`.")
    try:
        return factory()
    except Exception as error:
        sentence = f"{name} failed ({type(error).__name__}): the lines above say where."
        raise ConfigurationError(sentence) from _of_the_application(error)


def _of_the_application(error: Exception) -> Exception:
    """The exception, its traceback without the steps that led to the application."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _leads_there(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return error.with_traceback(trace)


def _leads_there(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen importlib")


def _hint(module: ModuleType) -> str:
    """The applications that a module seems to have, for one who has named another."""
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and name[0] != "_" and not inspect.isclass(value) and not inspect.isroutine(value)
    ]
    return f" Did you mean {' or '.join(f'`{module.__name__}:{name}`' for name in names[:3])}?" if names else ""
