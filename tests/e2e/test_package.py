"""The package of the page's client, as programs install it: in Node, with TypeScript, and in programs built with Vite.

The components are those of docs/how-to/use-react-svelte-vue.md.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, Route, expect

from .hosted import HostedServer
from .processes import PushlineProcess
from .waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
JS = ROOT / "js"
GUIDE = (ROOT / "docs/how-to/use-react-svelte-vue.md").read_text(encoding="utf-8")
# node and npm come with the development packages
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def run(*command: str, folder: Path) -> str:
    """Run a program to its end, and return what it printed. Raises what it said when it failed."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": PATH}, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="package")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm pack` makes it."""
    folder = tmp_path_factory.mktemp("package")
    run("npm", "pack", "--silent", "--pack-destination", str(folder), folder=JS)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="package")
def program(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a program that has installed the package, and nothing else."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--silent", "--omit=peer", str(package), folder=folder)
    return folder


class TestWhatIsInIt:
    def test_the_sources_the_hook_the_scripts_and_the_types(self, package: Path) -> None:
        with tarfile.open(package) as packed:
            names = {name.removeprefix("package/") for name in packed.getnames()}
        assert {name.split("/")[0] for name in names} == {
            "LICENSE", "README.md", "dist", "package.json", "react", "src", "types",
        }  # fmt: skip
        assert {name for name in names if name.startswith("dist/")} == {
            "dist/jsapi.js", "dist/jsapi.js.map", "dist/pushline.mjs", "dist/pushline.mjs.map",
        }  # fmt: skip
        exports = json.loads((JS / "package.json").read_text())["exports"].values()
        for target in (name for entry in exports for name in (entry.values() if isinstance(entry, dict) else [entry])):
            assert target.removeprefix("./") in names

    def test_nothing_depends_on_another_package(self, program: Path) -> None:
        assert [entry.name for entry in (program / "node_modules").iterdir() if entry.name[0] != "."] == ["pushline"]

    @pytest.mark.parametrize("name", ["jsapi.js", "pushline.mjs"])
    def test_the_scripts_are_those_that_the_server_serves_and_have_their_source_maps(
        self, program: Path, name: str
    ) -> None:
        folder = program / "node_modules/pushline/dist"
        served = (ROOT / "src/pushline/static" / name).read_text(encoding="utf-8")
        assert (folder / name).read_text(encoding="utf-8") == f"{served}//# sourceMappingURL={name}.map\n"
        source_map = json.loads((folder / f"{name}.map").read_text())
        sources = dict(zip(source_map["sources"], source_map["sourcesContent"], strict=True))
        assert sources["../src/connection.js"] == (JS / "src/connection.js").read_text(encoding="utf-8")

    def test_it_is_as_small_as_the_reference_says(self) -> None:
        page = (ROOT / "docs/reference/javascript.md").read_text(encoding="utf-8")
        (kilobytes,) = re.findall(r"^(\d\.\d) kB each, compressed with gzip", page, re.M)
        for name in ("jsapi.js", "pushline.mjs"):
            script = (ROOT / "src/pushline/static" / name).read_bytes()
            assert len(gzip.compress(script)) <= float(kilobytes) * 1000


class TestInNode:
    @pytest.mark.parametrize("options", [[], ["--no-experimental-websocket"]], ids=["WebSocket", "SSE"])
    def test_a_program_receives_a_message(
        self, program: Path, options: list[str], shared_pushline: PushlineProcess
    ) -> None:
        client_id = f"node{len(options)}"
        token = shared_pushline.client.create_channel(client_id)
        shared_pushline.client.send_message(client_id, "hello from Python")
        (program / "receive.js").write_text("""
            import { Channel } from "pushline";
            const [token, url] = process.argv.slice(2);
            new Channel(token, { url }).open({
              onmessage({ data }) {
                console.log(typeof WebSocket, data);
                this.close();
              },
            });
        """)
        printed = run("node", *options, "receive.js", token, shared_pushline.url, folder=program)
        assert printed == f"{'undefined' if options else 'function'} hello from Python\n"

    def test_every_name_of_the_old_api_is_in_the_script(self, program: Path) -> None:
        (program / "script.cjs").write_text("""
            const path = require.resolve("pushline/jsapi.js");
            globalThis.window = globalThis;
            globalThis.document = { currentScript: null };
            new (require("vm").Script)(require("fs").readFileSync(path, "utf8")).runInThisContext();
            console.log(Object.keys(goog.appengine).join(" "));
        """)
        assert run("node", "script.cjs", folder=program) == "Channel Socket\n"

    def test_typescript_knows_its_types(self, program: Path) -> None:
        (program / "typed.ts").write_text("""
            import { Channel, Socket, type Handlers, type Options } from "pushline";
            import { useChannel, type Connection } from "pushline/react";

            const options: Options = { url: "https://push.example.com", refreshToken: async () => "token" };
            const handlers: Handlers = { onmessage({ data }) { const text: string = data; this.close(); void text; } };
            const channel: Channel = new Channel("token", options);
            const socket: Socket = channel.open(handlers);
            const state: number = socket.readyState;
            const { status, error }: Connection = useChannel(null, handlers, options);
            void [state, status, error?.description];
            // @ts-expect-error
            new Channel(7);
            // @ts-expect-error
            channel.open({ onmesage() {} });
        """)
        tsc = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "typed.ts"]
        run("node", str(JS / "node_modules/typescript/bin/tsc"), *tsc, folder=program)


@pytest.fixture(scope="package")
def programs(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of tests/e2e/vite, built with the guide's components."""
    folder = tmp_path_factory.mktemp("vite") / "programs"
    shutil.copytree(ROOT / "tests/e2e/vite", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shown = re.findall(r"^```(?:js|jsx|svelte|vue)\n(?:// |<!-- )([\w.]+).*\n((?:.*\n)*?)```$", GUIDE, re.M)
    assert [name for name, _ in shown] == ["token.js", "Board.jsx", "Board.svelte", "Board.vue"]
    for name, code in shown:
        (folder / "src" / name).write_text(code, encoding="utf-8")
    run("npm", "ci", "--silent", folder=folder)
    run("npm", "install", "--silent", "--no-save", str(package), folder=folder)
    run("npm", "run", "--silent", "build", folder=folder)
    run("npm", "run", "--silent", "build:development", folder=folder)
    return folder


@pytest.fixture(scope="package")
def pages(programs: Path) -> Iterator[str]:
    """Their address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=programs / "dist"))
    thread = Thread(target=server.serve_forever, name="built programs")
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


COUNT = """
  globalThis.opened = 0;
  globalThis.WebSocket = class extends WebSocket {
    constructor(...how) {
      super(...how);
      opened += 1;
    }
  };
"""


class TestBuiltWithVite:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[HostedServer]:
        with HostedServer(tmp_path) as server:
            yield server

    @pytest.fixture
    def board(self, new_page: Callable[..., Page], pages: str, server: HostedServer) -> Callable[[str, str], Page]:
        """Opens one of the programs with a token. It gets fresh ones of the same client id from its application."""

        def open(framework: str, client_id: str) -> Page:
            page = new_page()
            page.add_init_script(COUNT)

            def application(route: Route) -> None:
                route.fulfill(body=server.client.create_channel(client_id))

            page.route("**/channel-token", application)
            query = urlencode({"token": server.client.create_channel(client_id), "url": server.url})
            page.goto(f"{pages}/{framework}.html#{query}")
            return page

        return open

    @pytest.mark.parametrize("framework", ["react", "svelte", "vue"])
    def test_it_shows_what_comes_goes_on_with_a_fresh_token_and_closes(
        self, framework: str, board: Callable[[str, str], Page], server: HostedServer
    ) -> None:
        page = board(framework, "ann")
        text = page.locator("p")
        expect(text).to_have_text("open:")
        server.client.send_message("ann", "a")
        server.client.send_message("ann", "b")
        expect(text).to_have_text("open: a, b")
        with page.expect_response("**/channel-token"):
            server.advance(2 * 3600 - 20)
        server.advance(60)  # past the end of the first token
        server.client.send_message("ann", "c")
        expect(text).to_have_text("open: a, b, c")
        page.evaluate("show(null)")
        expect(text).to_have_count(0)
        wait_for(lambda: not server.client.get_client("ann").connections, "the server has no page any more")

    def test_react_in_strict_mode_opens_one_socket(self, board: Callable[[str, str], Page]) -> None:
        page = board("development/react", "bob")
        expect(page.locator("p")).to_have_text("open:")
        assert page.evaluate("opened") == 1
        assert page.evaluate("effects") == 2, "StrictMode does nothing here"

    def test_react_opens_none_where_pages_are_rendered_on_a_server(self, programs: Path) -> None:
        (programs / "render.js").write_text("""
            import { createElement } from "react";
            import { renderToString } from "react-dom/server";
            import { useChannel } from "pushline/react";

            globalThis.WebSocket = globalThis.fetch = () => console.log("a connection");
            console.error = console.warn = console.log;
            const Board = () => useChannel("token", {}, { url: "http://127.0.0.1:1" }).status;
            console.log(renderToString(createElement(Board)));
            setTimeout(() => {}, 10);
        """)
        assert run("node", "render.js", folder=programs) == "connecting\n"

    def test_react_opens_another_socket_for_another_token_and_says_why_one_has_ended(
        self, board: Callable[[str, str], Page], server: HostedServer
    ) -> None:
        page = board("react", "carl")
        expect(page.locator("p")).to_have_text("open:")
        page.evaluate("show", server.client.create_channel("dora"))
        expect(page.locator("p")).to_have_text("open:")
        server.client.send_message("dora", "for Dora")
        expect(page.locator("p")).to_have_text("open: for Dora")
        other = board("react", "dora")
        expect(other.locator("p")).to_have_text("open:")
        expect(page.locator("p")).to_have_text("Replaced.: for Dora")
