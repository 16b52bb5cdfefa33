"""A cheap load client: keep-alive connections over raw asyncio streams, with requests prepared in
advance.

`python -m benchmarks.client PORT CONNECTIONS FILE` sends every request of FILE (each: 4 bytes
length, then the raw request) and prints, as JSON, seconds, statuses and latencies."""

import asyncio
import json
import struct
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter

import uvloop


def raw_request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """Make an HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def write_requests(path: Path, requests: list[bytes]) -> None:
    """Write the file that the client reads."""
    path.write_bytes(b"".join(struct.pack(">I", len(request)) + request for request in requests))


async def send_all(port: int, connections: int, requests: list[bytes]) -> dict[str, object]:
    waiting, latencies, statuses = iter(requests), list[float](), Counter[str]()

    async def worker() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            started = perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
            latencies.append(perf_counter() - started)
            statuses[head[9:12].decode()] += 1
        writer.close()

    started = perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    latencies.sort()
    return {
        "seconds": perf_counter() - started,
        "statuses": dict(statuses),
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
    }


def main() -> None:
    data, requests, place = Path(sys.argv[3]).read_bytes(), list[bytes](), 0
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        requests.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    print(json.dumps(uvloop.run(send_all(int(sys.argv[1]), int(sys.argv[2]), requests))))


if __name__ == "__main__":
    main()
