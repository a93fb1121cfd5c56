"""nats-py as the judge: its asyncio loop in a thread, called from trio."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import nats
import trio

T = TypeVar("T")


class Oracle:
    """A client of nats-py; `run` runs one coroutine function with it, and waits."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.client: Any = None

    def __enter__(self) -> "Oracle":
        self._thread.start()

        async def connect() -> Any:
            return await nats.connect(self._url, **self._options)

        self.client = self._wait(connect)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wait(self.client.close)

        async def rest() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._wait(rest)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await trio.to_thread.run_sync(self._wait, function, *args)

    async def flush(self) -> None:
        """What was said before is at the server: the first PING of nats-py may overtake it."""
        for _ in range(2):
            await self.run(self.client.flush)

    def _wait(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        async def call() -> T:
            return await function(*args)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)
