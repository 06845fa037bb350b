"""The import hook: ``google.appengine.api.channel`` and, for tests, ``google.appengine.ext.testbed``.

Google's package ``appengine-python-standard`` has no Channel API. Where it is installed, its modules stay as they are,
the channel comes to them, and its testbed learns the channel stub; where it is not, the packages above the channel are
empty ones. ``google`` itself may belong to others, such as protobuf: what they have there is found as before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

_OURS: Final = {
    "google.appengine.api.channel": "pushline.appengine.channel",
    "google.appengine.api.channel.channel": "pushline.appengine.channel",
    "google.appengine.api.channel.channel_service_stub": "pushline.appengine.stub",
}
_TESTBED: Final = "google.appengine.ext.testbed"
_WITHOUT_GOOGLE: Final = {
    "google": None,
    "google.appengine": None,
    "google.appengine.api": None,
    "google.appengine.ext": None,
    _TESTBED: "pushline.appengine.testbed",
}


def install() -> None:
    """Make ``from google.appengine.api import channel`` work in this process. Doing it again changes nothing."""
    if any(isinstance(finder, _First) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _First())
    sys.meta_path.append(_Last())
    if _TESTBED in sys.modules:
        _teach(sys.modules[_TESTBED])


class _First(MetaPathFinder):
    """Finds what nobody else has, and Google's testbed, to which it adds something."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname in _OURS:
            package = fullname == "google.appengine.api.channel"
            return ModuleSpec(fullname, _Named(_OURS[fullname]), is_package=package)
        if fullname == _TESTBED:
            others = (finder for finder in sys.meta_path if not isinstance(finder, _First | _Last))
            found = (finder.find_spec(fullname, path, target) for finder in others)
            spec = next((spec for spec in found if spec is not None), None)
            if spec is not None and spec.loader is not None:
                _after(spec.loader, _teach)
            return spec
        return None


class _Last(MetaPathFinder):
    """Finds what Google's package would have, where it is not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname not in _WITHOUT_GOOGLE:
            return None
        home = _WITHOUT_GOOGLE[fullname]
        return ModuleSpec(fullname, _Named(home), is_package=home is None)


class _Named(Loader):
    """Makes a module that has the public names of another one of ours, or none."""

    def __init__(self, home: str | None) -> None:
        self._home = home

    def exec_module(self, module: ModuleType) -> None:
        """See :class:`importlib.abc.Loader`."""
        if self._home is None:
            return
        home = import_module(self._home)
        module.__doc__ = home.__doc__
        vars(module).update({name: getattr(home, name) for name in ("__all__", *home.__all__)})


def _after(loader: Loader, act: Callable[[ModuleType], None]) -> None:
    """Let ``act`` follow when ``loader`` has carried a module out."""
    carry_out = loader.exec_module

    def carry_out_and_act(module: ModuleType) -> None:
        carry_out(module)
        act(module)

    setattr(loader, "exec_module", carry_out_and_act)  # noqa: B010 - the loader of this one module


def _teach(testbed: ModuleType) -> None:
    """Google's testbed knows the channel service by its name, and refuses it: it does so no more."""
    ours = import_module("pushline.appengine.testbed")
    testbed.Testbed.init_channel_stub = ours.init_channel_stub
    testbed.INIT_STUB_METHOD_NAMES[ours.SERVICE] = ours.init_channel_stub.__name__
    testbed.SUPPORTED_SERVICES.append(ours.SERVICE)
