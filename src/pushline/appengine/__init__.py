"""The old API: makes programs of App Engine's Channel API work with Pushline (contract, Y2).

::

    import pushline.appengine

    pushline.appengine.install()

    from google.appengine.api import channel

    token = channel.create_channel("ann")
    channel.send_message("ann", "hello")

The second import is the one that old programs have: :func:`install` is the only line that is added to them.
"""

from pushline.appengine.imports import install

__all__ = ["install"]
