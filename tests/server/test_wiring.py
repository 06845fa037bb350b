"""A server put together: its address, its data dir, its start message, its end."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

from pushline.errors import ConfigurationError
from pushline.server.run import start_message
from pushline.server.secrets import Loaded
from pushline.server.wiring import DataDir, Server, split_address
from pushline.settings import Settings
from pushline.stores.memory import MemoryStore

KEY = "the-api-key-of-the-tests"


def server(listen: str) -> Server:
    return Server(Settings(listen=listen), store=MemoryStore(), api_keys=(KEY,), token_secrets=(KEY,))


class TestAnAddress:
    @pytest.mark.parametrize(
        ("listen", "host", "port"),
        [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("10.0.0.1:0", "10.0.0.1", 0),
            ("localhost:65535", "localhost", 65535),
            ("[::1]:8080", "::1", 8080),
            ("[::]:80", "::", 80),
        ],
    )
    def test_is_host_and_port(self, listen: str, host: str, port: int) -> None:
        assert split_address(listen) == (host, port)

    @pytest.mark.parametrize(
        "listen",
        ["", "8080", "localhost", ":8080", "localhost:", "localhost:x", "a:-1", "a:65536", "a:²"],
    )
    def test_of_another_form_is_refused(self, listen: str) -> None:
        with pytest.raises(ConfigurationError, match=r"is not of the form HOST:PORT, such as 127\.0\.0\.1:8080\.$"):
            split_address(listen)

    @pytest.mark.parametrize("listen", ["a..b:80", "localhost"])
    def test_that_cannot_be_served_is_refused_in_a_sentence(self, listen: str) -> None:
        async def serve() -> None:
            async with server(listen):
                pass

        with pytest.raises(ConfigurationError, match=rf"^--listen {listen} .+\.$"):
            asyncio.run(serve())


class TestADataDir:
    def test_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "data"
        DataDir(path).release()
        assert path.stat().st_mode & 0o777 == 0o700

    def test_belongs_to_one_at_a_time(self, tmp_path: Path) -> None:
        first = DataDir(tmp_path)
        with pytest.raises(ConfigurationError, match="belongs to a Pushline that is running"):
            DataDir(tmp_path)
        first.release()
        DataDir(tmp_path).release()

    def test_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        with pytest.raises(ConfigurationError, match=rf"^--data-dir {path} cannot be used: File exists\.$"):
            DataDir(path)


class TestTheStartMessage:
    def message(self, settings: Settings, api_key: Loaded) -> str:
        return start_message("http://127.0.0.1:8080", settings, api_key, Loaded((KEY,), "PUSHLINE_SECRET"))

    def test_says_where_everything_is(self) -> None:
        text = self.message(Settings(data_dir=Path("data")), Loaded((KEY,), "data/api-key"))
        for word in ("http://127.0.0.1:8080", "data/api-key", "PUSHLINE_SECRET", "sqlite, in data", "Ctrl-C"):
            assert word in text
        assert KEY not in text

    def test_of_a_server_without_a_disk_names_no_folder(self) -> None:
        text = self.message(Settings(store="memory"), Loaded((KEY,), "PUSHLINE_API_KEY"))
        assert "store         memory\n" in text

    @pytest.mark.parametrize(
        ("source", "values", "key"),
        [
            ("PUSHLINE_API_KEY", (KEY,), "$PUSHLINE_API_KEY"),
            ("data/api-key", (KEY,), "$(cat data/api-key)"),
            ("my data/api-key", (KEY,), "$(cat 'my data/api-key')"),
            ("data/api-key", (KEY, KEY), "$(awk 'NF {print $1; exit}' data/api-key)"),
            ("PUSHLINE_API_KEY", (KEY, KEY), "${PUSHLINE_API_KEY%%[[:space:]]*}"),
        ],
    )
    def test_has_lines_that_work_when_pasted(self, source: str, values: tuple[str, ...], key: str) -> None:
        lines = [line for line in self.message(Settings(), Loaded(values, source)).splitlines() if "curl" in line]
        assert len(lines) == 2
        for line in lines:
            assert f'-H "Authorization: Bearer {key}"' in line
            assert shlex.split(line)[0] == "curl"


@pytest.mark.e2e
def test_a_server_serves_on_a_free_port_and_ends() -> None:
    async def main() -> None:
        async with server("127.0.0.1:0") as running:
            assert running.url.startswith("http://127.0.0.1:")
            port = int(running.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\n\r\n")
            assert await reader.readuntil(b'{"status":"ok"}')
            with pytest.raises(ConfigurationError, match=r"cannot be served: .*in use"):
                async with server(f"127.0.0.1:{port}"):
                    pass
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())
