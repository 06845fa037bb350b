"""``google.appengine.ext.testbed`` for tests of the Channel API, where Google's own package is not installed.

Google's testbed, where it is, learns :func:`init_channel_stub` and keeps everything else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from pushline.appengine import service
from pushline.appengine.stub import ChannelServiceStub

__all__ = ["CHANNEL_SERVICE_NAME", "Error", "NotActivatedError", "StubNotSupportedError", "Testbed"]

SERVICE: Final = "channel"
CHANNEL_SERVICE_NAME: Final = SERVICE


class Error(Exception):
    """The base of what a testbed raises."""


class NotActivatedError(Error):
    """The testbed was not activated."""


class StubNotSupportedError(Error):
    """There is no stub of that service here."""


class _Registry(Protocol):
    """What the channel stub needs of a testbed, Google's or ours."""

    def _register_stub(self, service_name: str, stub: object, deactivate_callback: Callable[[Any], None]) -> None: ...

    def _disable_stub(self, service_name: str) -> None: ...


def init_channel_stub(self: _Registry, enable: bool = True) -> None:
    """Let the Channel API end in a stub from now on, until the testbed is deactivated; ``enable=False`` ends that."""
    if not enable:
        self._disable_stub(SERVICE)
        return
    stub = ChannelServiceStub()
    self._register_stub(SERVICE, stub, _forget)
    service.use(stub.client)


def _forget(stub: ChannelServiceStub) -> None:
    service.use(None)


class Testbed:
    """Puts stubs in the place of services: here, of the channel service alone."""

    __test__ = False  # said to pytest, which takes it for tests
    init_channel_stub = init_channel_stub

    def __init__(self) -> None:
        self._activated = False
        self._stubs: dict[str, tuple[object, Callable[[Any], None]]] = {}
        self._environment: dict[str, str] = {}

    def activate(self) -> None:
        """Begin. What the environment has now is there again after :meth:`deactivate`."""
        self._environment = dict(os.environ)
        self._activated = True

    def deactivate(self) -> None:
        """End: the services are the real ones again. Raises :class:`NotActivatedError`."""
        self._check()
        for name in list(self._stubs):
            self._disable_stub(name)
        os.environ.clear()
        os.environ.update(self._environment)
        self._activated = False

    def setup_env(self, overwrite: bool = False, **variables: object) -> None:
        """Set environment variables, their names in any case; those that are set stay, unless ``overwrite``."""
        for name, value in variables.items():
            variable = "APPLICATION_ID" if name == "app_id" else name.upper()
            if overwrite or variable not in os.environ:
                os.environ[variable] = str(value)

    def init_all_stubs(self, enable: bool = True) -> None:
        """Enable every stub that there is: that of the channel service."""
        self.init_channel_stub(enable)

    def get_stub(self, service_name: str) -> object:
        """The stub of a service, None when it was not enabled.

        Raises :class:`NotActivatedError`, and :class:`StubNotSupportedError` for any but the channel service.
        """
        self._check()
        if service_name != SERVICE:
            raise StubNotSupportedError(f'The "{service_name}" service is not supported by testbed')
        return self._stubs.get(service_name, (None,))[0]

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not (name.startswith("init_") and name.endswith("_stub")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise StubNotSupportedError(
            f"`{name}` is in Google's package appengine-python-standard: install it beside Pushline."
        )

    def _check(self) -> None:
        if not self._activated:
            raise NotActivatedError("The testbed is not activated.")

    def _register_stub(self, service_name: str, stub: object, deactivate_callback: Callable[[Any], None]) -> None:
        self._disable_stub(service_name)
        self._stubs[service_name] = (stub, deactivate_callback)

    def _disable_stub(self, service_name: str) -> None:
        self._check()
        if service_name in self._stubs:
            stub, forget = self._stubs.pop(service_name)
            forget(stub)
