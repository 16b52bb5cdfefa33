"""A hostile client on loopback: many connections that never complete a request.

`python -m benchmarks.hostile PORT KIND COUNT` opens COUNT connections from addresses 127.0.0.2 to
127.0.0.201, sends a byte per second on each, reopens closed ones, and prints `ready` when all have
been opened. It ends when its standard input closes, or after two minutes."""

import asyncio
import contextlib
import resource
import sys
from itertools import count

import uvloop

_HEAD = b"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\n"
KINDS = {
    "bodies": _HEAD + b"Content-Length: 100000\r\n\r\n",
    "headers": _HEAD + b"X-Slow: ",
    "idle": b"",
}
_SECONDS = 120
_AT_ONCE = 200  # more would wait in the listener's queue and add to its delay


async def attack(port: int, kind: str, wanted: int) -> None:
    turns, opened, places = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(0), count()

    async def hold() -> None:
        first = True
        while True:
            source = (f"127.0.0.{2 + next(places) % 200}", 0)
            with contextlib.suppress(OSError):
                async with turns:
                    _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
                writer.write(KINDS[kind])
                if first:
                    opened.release()
                    first = False
                try:
                    while not writer.is_closing():
                        await asyncio.sleep(1)
                        writer.write(b"x")
                        await writer.drain()
                finally:
                    writer.close()
            await asyncio.sleep(1)

    held = [asyncio.create_task(hold()) for _ in range(wanted)]
    for _ in range(wanted):
        await opened.acquire()
    print("ready", flush=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(sys.stdin.read), _SECONDS)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    uvloop.run(attack(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))


if __name__ == "__main__":
    main()
