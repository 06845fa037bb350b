"""What pages load (A6), and which origins may connect (W7)."""

from __future__ import annotations

from importlib.resources import files

import pytest
from tests.http.rig import Peer, Rig

from pushline.errors import ConfigurationError
from pushline.http.page import Origins

SCRIPTS = {"/_ah/channel/jsapi": "jsapi.js", "/_ah/channel/pushline.mjs": "pushline.mjs"}


@pytest.mark.parametrize("path", SCRIPTS)
class TestScripts:
    def test_are_the_files_of_the_package(self, rig: Rig, path: str) -> None:
        answer = Peer(rig).ask("GET", path)
        assert answer.status == 200
        assert answer.body == files("pushline").joinpath("static", SCRIPTS[path]).read_bytes()
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"

    def test_may_be_loaded_by_pages_of_any_site(self, rig: Rig, path: str) -> None:
        headers = Peer(rig).ask("GET", path).headers
        assert headers["access-control-allow-origin"] == "*"
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"

    def test_may_be_asked_for_with_any_query(self, rig: Rig, path: str) -> None:
        assert Peer(rig).ask("GET", f"{path}?version=7").status == 200

    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', 'W/"other" ,W/{}', " {} ", "*", '"a,b", {}'])
    def test_are_not_sent_again_to_who_has_them(self, rig: Rig, path: str, form: str) -> None:
        whole = Peer(rig).ask("GET", path)
        answer = Peer(rig).ask("GET", path, {"If-None-Match": form.format(whole.headers["etag"])})
        assert (answer.status, answer.body) == (304, b"")
        assert "content-length" not in answer.headers
        assert "content-type" not in answer.headers
        for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert answer.headers[name] == whole.headers[name]

    @pytest.mark.parametrize("form", ['"other"', "", "{}x", "W/W/{}"])
    def test_are_sent_to_who_has_others(self, rig: Rig, path: str, form: str) -> None:
        etag = Peer(rig).ask("GET", path).headers["etag"]
        assert Peer(rig).ask("GET", path, {"If-None-Match": form.format(etag)}).status == 200


def test_the_scripts_have_etags_of_their_own(rig: Rig) -> None:
    assert len({Peer(rig).ask("GET", path).headers["etag"] for path in SCRIPTS}) == 2


class TestOrigins:
    @pytest.mark.parametrize("origin", [b"", b"null", b"https://any.example", b"http://[", b"\xff"])
    def test_are_all_admitted_when_none_is_listed(self, origin: bytes) -> None:
        assert Origins(()).admit(origin, b"push.example.com")

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            (b"https://app.example.com", b"push.example.com"),
            (b"HTTPS://App.Example.com", b"push.example.com"),
            (b"http://localhost:3000", b"push.example.com"),
            (b"https://push.example.com", b"push.example.com"),
            (b"https://push.example.com:8443", b"Push.Example.com:8443"),
            (b"http://[::1]:8080", b"[::1]:8080"),
        ],
    )
    def test_that_are_listed_or_the_servers_own_are_admitted(self, origin: bytes, host: bytes) -> None:
        assert Origins(("https://app.example.com/", "http://localhost:3000")).admit(origin, host)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            (b"", b"push.example.com"),
            (b"", b""),
            (b"null", b"push.example.com"),
            (b"null", b""),
            (b"http://app.example.com", b"push.example.com"),
            (b"https://app.example.com:444", b"push.example.com"),
            (b"https://app.example.com.evil.example", b"push.example.com"),
            (b"https://evil.example/push.example.com", b"push.example.com"),
            (b"https://push.example.com:444", b"push.example.com"),
            (b"push.example.com", b"push.example.com"),
            (b"http://[", b"push.example.com"),
            (b"\xff", b"push.example.com"),
        ],
    )
    def test_that_are_others_are_not(self, origin: bytes, host: bytes) -> None:
        assert not Origins(("https://app.example.com",)).admit(origin, host)

    @pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/path", "https://", "*", ""])
    def test_what_no_browser_sends_as_an_origin_is_refused_at_the_start(self, origin: str) -> None:
        with pytest.raises(ConfigurationError, match="is not an origin"):
            Origins((origin,))
