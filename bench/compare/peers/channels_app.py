# mypy: ignore-errors
"""Django Channels with its layer in memory: a group for each page, and one for all of them."""

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of-no-use",  # noqa: S106 - nothing is signed
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Page(AsyncWebsocketConsumer):
    """Is in the group of its address."""

    async def connect(self):
        self.group = "page." + self.scope["url_route"]["kwargs"]["page"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def push(self, event):
        await self.send(text_data=event["text"])


async def send(request, page):
    await get_channel_layer().group_send("page." + page, {"type": "push", "text": request.body.decode()})
    return HttpResponse("ok")


urlpatterns = [path("send/<page>", send)]
app = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": URLRouter([path("ws/<page>", Page.as_asgi())])})
