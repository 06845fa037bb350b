"""The page that all of these programs show: it lists what it is sent, and its button asks the program for a message."""

from __future__ import annotations

import json


def page(token: str) -> str:
    """The page of one user, with that user's token."""
    return f"""<!doctype html><meta charset="utf-8"><title>Pushline, mounted</title>
<button id="ask">Say hello</button><ul id="messages"></ul>
<script src="/_ah/channel/jsapi"></script>
<script>
  const list = document.getElementById("messages");
  new goog.appengine.Channel({json.dumps(token)}).open({{
    onmessage({{ data }}) {{ list.appendChild(document.createElement("li")).textContent = data; }},
  }});
  document.getElementById("ask").onclick = () => fetch("/hello", {{ method: "POST" }});
</script>
"""
