"""A Django program that knows who is there: `python django_app.py runserver`, and `--presence-url` with its address.

`PUSHLINE_WEBHOOK_SECRET` (or `PUSHLINE_WEBHOOK_SECRET_FILE`) has the secret of the server. In a project of yours the
two views and their paths go into its `urls.py`.
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from pushline.errors import InvalidSignature
from pushline.presence import parse

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])

there: dict[str, bool] = {}
latest: dict[str, int] = {}


@csrf_exempt  # the signature says that it is Pushline
@require_POST
def presence(request: HttpRequest) -> HttpResponse:
    try:
        told = parse(request.headers, request.body)
    except InvalidSignature:
        return HttpResponse(status=401)
    if told.sequence > latest.get(told.client_id, 0):  # else it is late, or a repeat
        latest[told.client_id] = told.sequence
        there[told.client_id] = told.connected
    return HttpResponse(status=204)


def who_is_there(request: HttpRequest) -> HttpResponse:
    return JsonResponse(sorted(client_id for client_id, connected in there.items() if connected), safe=False)


urlpatterns = [
    path("_ah/channel/connected/", presence),
    path("_ah/channel/disconnected/", presence),
    path("there", who_is_there),
]
app = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
