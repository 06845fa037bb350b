"""Pushline in a Django program: ``uvicorn django_app:app``. In a project the last line is that of its ``asgi.py``."""

from __future__ import annotations

import secrets

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from page import page
from pushline.asgi import Pushline

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY=secrets.token_hex(), ALLOWED_HOSTS=["127.0.0.1", "localhost"])
pushline = Pushline()


async def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(page(await pushline.create_channel("ann")))


def hello(request: HttpRequest) -> JsonResponse:
    """A view as most are: not a coroutine."""
    result = async_to_sync(pushline.send_message)("ann", "hello from Django")
    return JsonResponse({"status": result.status})


urlpatterns = [path("", show), path("hello", hello)]
app = pushline.mount(get_asgi_application())
