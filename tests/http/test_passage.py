"""Whatever an application sends arrives byte for byte, by whatever way it sends it."""

from __future__ import annotations

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from tests.http.rig import Rig

from pushline.messages import is_client_id

client_ids = st.text(min_size=1, max_size=256).filter(is_client_id)
texts = st.text(min_size=1, max_size=400) | st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=4), st.integers(1, 600)
)


class TestPassage:
    @given(client_id=client_ids, text=texts)
    def test_any_text_reaches_any_client_id(self, client_id: str, text: str) -> None:
        rig = Rig()
        page = rig.page(client_id)
        data = text.encode()
        in_path = rig.ask("POST", f"/v1/clients/{quote(client_id, safe='')}/messages", {}, data)
        in_query = rig.ask("POST", f"/v1/clients/-/messages?client_id={quote(client_id, safe='')}", {}, data)
        batch = rig.post_json(
            "/v1/messages", {"messages": [{"to": [client_id], "data": text}, {"to": client_id, "json": text}]}
        )
        assert [answer.json["status"] for answer in (in_path, in_query)] == ["sent", "sent"]
        assert [(each["to"], each["status"]) for each in batch.json["results"]] == [(client_id, "sent")] * 2
        assert page.messages() == [text, text, text, json.dumps(text)]
        assert rig.kept(client_id) == [data, data, data, json.dumps(text).encode()]
