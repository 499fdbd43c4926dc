"""uvicorn's HTTP/1.1 with a way for hot requests past ASGI: from the parser to their handler, in one write back."""

from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from refill.channels.machines.body import HEARING, too_large
from refill.channels.machines.json import BODY_LIMIT_BYTES
from refill.channels.machines.lane import Hot, answer, refusal


class Nobody:
    """Stands for the event that an ASGI application would wait for."""

    def set(self) -> None:
        """Nobody waits."""


class Turn:
    """A hot request under way; it stands where uvicorn keeps its request and response, and looks like one to it."""

    __slots__ = ("disconnected", "headers", "hot", "keep_alive", "more_body", "parts", "response_complete", "size")
    message_event = Nobody()

    def __init__(self, hot: Hot, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> None:
        self.hot = hot
        self.headers = headers
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.size = 0
        self.more_body = True
        self.response_complete = False
        self.disconnected = False


class QuickHttp(HttpToolsProtocol):
    """Serves any ASGI application; one with a `hot` mapping (a `lane.Lane`) gets its hot POSTs without ASGI's messages.

    What is unusual takes uvicorn's own way: a query string, `Expect: 100-continue`, an upgrade, a request sent before
    the answer to the last one.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._hot = hot_of(self.app)

    def on_headers_complete(self) -> None:
        hot = self._hot.get(self.url)
        before = self.cycle
        if (
            hot is None
            or not (before is None or before.response_complete)
            or self.expect_100_continue
            or self.limit_concurrency is not None
            or self.parser.get_method() != b"POST"
            or self.parser.should_upgrade()
        ):
            super().on_headers_complete()
        else:
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            self.cycle = Turn(hot, self.headers, keep_alive)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        turn: object = self.cycle
        if not isinstance(turn, Turn):
            super().on_body(body)
            return
        turn.size += len(body)
        if turn.size <= BODY_LIMIT_BYTES:
            turn.parts.append(body)
        elif turn.size > HEARING * BODY_LIMIT_BYTES:
            self.transport.close()

    def on_message_complete(self) -> None:
        turn: object = self.cycle
        if not isinstance(turn, Turn):
            super().on_message_complete()
            return
        turn.more_body = False
        task = self.loop.create_task(self._answer(turn))
        self.tasks.add(task)  # uvicorn waits for these before it stops
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, turn: Turn) -> None:
        if turn.size > BODY_LIMIT_BYTES:
            status, headers, body = refusal(too_large(BODY_LIMIT_BYTES))
        else:
            status, headers, body = await answer(turn.hot, turn.headers, b"".join(turn.parts))
        if self.flow.write_paused and not turn.disconnected:
            await self.flow.drain()
        turn.response_complete = True
        if turn.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not turn.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n" % len(body))
        lines.append(body)
        self.transport.write(b"".join(lines))
        if not turn.keep_alive:
            self.transport.close()
        self.on_response_complete()


def hot_of(app: object) -> Mapping[bytes, Hot]:
    """The hot routes of an application, also inside uvicorn's own wrappers."""
    while app is not None:
        hot: Mapping[str, Hot] | None = getattr(app, "hot", None)
        if hot is not None:
            return {path.encode(): handler for path, handler in hot.items()}
        app = getattr(app, "app", None)
    return {}
