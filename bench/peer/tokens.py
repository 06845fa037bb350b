"""Makes one token for each of the client ids c0, c1, … and writes them to a file, one per line.

tokens.py PORT COUNT FILE, with the API key in PUSHLINE_API_KEY. Used by the load generator's `start` script beside it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

DEPTH = 200


def main(port: int, count: int, path: str) -> None:
    for _ in range(100):
        try:
            connection = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            time.sleep(0.05)
    else:
        sys.exit(f"nothing listens on port {port}")
    key = os.environ["PUSHLINE_API_KEY"]
    answers = connection.makefile("rb")
    with open(path + ".part", "w", encoding="ascii") as file:
        for first in range(0, count, DEPTH):
            bodies = [json.dumps({"client_id": f"c{k}"}) for k in range(first, min(first + DEPTH, count))]
            connection.sendall(
                "".join(
                    f"POST /v1/channels HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                    f"Accept: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                    for body in bodies
                ).encode()
            )
            for _ in bodies:
                while not (line := answers.readline()).lower().startswith(b"content-length:"):
                    pass
                size = int(line.split(b":")[1])
                while answers.readline() != b"\r\n":
                    pass
                file.write(answers.read(size).decode() + "\n")
    os.rename(path + ".part", path)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
