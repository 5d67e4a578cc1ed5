"""A small local server for one trained model: a page to try it, and an address to send inputs to.

It listens on the loopback interface alone, takes what is small and of a known type, and answers one input at a time;
what is wrong with a request is told in its answer, and the server goes on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import h11
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hftransfer.base.errors import HftransferError, RecipeError, must_be
from hftransfer.predictors.dual import DualPredictor
from hftransfer.predictors.predictor import Predictor
from hftransfer.tasks.outcomes import Answer, Generation, Prediction, SegmentedImage

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src blob:"
_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff", "application/octet-stream")


@dataclass(frozen=True)
class Limits:
    """The limits of the server: the size of a request, seconds for its headers, its body and its answer, waiting
    requests, and connections."""

    most_bytes: int = 10 << 20
    header_seconds: float = 5.0
    read_seconds: float = 20.0
    answer_seconds: float = 60.0
    most_waiting: int = 8
    most_connections: int = 128


class _Refused(Exception):
    """A request that is not answered with a prediction."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def make_app(predictor: Predictor | DualPredictor, name: str, limits: Limits | None = None) -> FastAPI:
    """Return the application: `GET /` the page, `GET /about` what the model takes, `POST /predict` an input."""
    limits, form = limits or Limits(), _form_of(predictor)
    app = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    # A page elsewhere could name this machine by a domain of its own (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_middleware(_SecurityHeaders)
    queue = _Queue(limits.most_waiting)
    about: dict[str, object] = {"model": name, "takes": form.name, "labels": []}
    if isinstance(predictor, Predictor):
        labels = list(predictor.class_names) if predictor.task.head.names_classes else []
        about |= {"labels": labels, "scores": predictor.scoring, "note": predictor.note}

    @app.get("/")
    async def page() -> HTMLResponse:
        """Return the page."""
        return HTMLResponse(files("hftransfer.predictors").joinpath("page.html").read_text(encoding="utf-8"))

    @app.get("/about")
    async def describe() -> dict[str, object]:
        """Return the model's name, what it takes, its labels, what scores are, and what one should know of it."""
        return about

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Return the prediction for one input."""
        try:
            content = await _content(request, limits)
            given = form.read(request, content)
            work = queue.submit(lambda: _answer(predictor, form, given))
            return JSONResponse(await asyncio.wait_for(asyncio.wrap_future(work), limits.answer_seconds))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except _Refused as refused:
            return _error_response(refused.status, refused.message)
        except HftransferError as error:
            return _error_response(422, " ".join(error.faults))
        except TimeoutError:
            return _error_response(504, f"No answer within {limits.answer_seconds:g} seconds.")

    return app


class _Queue:
    """One worker, and so many inputs at most that wait for it or are in work; those that nobody waits for any more
    count until they are done."""

    def __init__(self, most: int) -> None:
        # One at a time: several passes at once would only hold each other up.
        self._worker, self._places = ThreadPoolExecutor(1), threading.Semaphore(most)

    def submit(self, work: Callable[[], dict[str, object]]) -> Future[dict[str, object]]:
        """Return what will be the outcome of the work.

        Raises:
            _Refused: too many wait.
        """
        if not self._places.acquire(blocking=False):
            raise _Refused(503, "Too many inputs are waiting: try again.")
        future = self._worker.submit(work)
        # Not when its request ends: work that nobody waits for any more still keeps the worker busy.
        future.add_done_callback(lambda _: self._places.release())
        return future


class _SecurityHeaders:
    """Refuses what pages of other sites ask for, and tells browsers what they may do with our answers, each of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if scope["type"] == "http" and _is_of_another_site(Headers(scope=scope)):
            refused = _error_response(403, "This server only answers its own page and programs on this machine.")
            await refused(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _is_of_another_site(headers: Headers) -> bool:
    """Return whether a page of another site asks: browsers say so in one of two ways, programs need not say
    anything."""
    # A browser sends the page's own address as its origin.
    own = f"http://{headers.get('host', '')}".lower()
    foreign = any(origin.lower() != own for origin in headers.getlist("origin"))
    return foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _error_response(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


_TEXTS = ("text", "text_pair", "question", "context", "prompt")
"""The names that texts have in requests."""


@dataclass(frozen=True)
class _Form:
    """The form of an input in a request: a file, or texts by name; and whether labels to choose between come along."""

    name: str
    """What the page calls it."""
    fields: tuple[str, ...]
    """The texts of a JSON object; none where the body is a file."""
    with_labels: bool = False

    def read(self, request: Request, content: bytes) -> object:
        """Return what the model is given: bytes, a dict of texts, or bytes with labels.

        Raises:
            _Refused: the request holds something else.
        """
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.fields:
            return self._texts(given, content)
        if given not in _TYPES:
            raise _Refused(415, f"The content type must be that of an image ({', '.join(_TYPES[:3])}); got '{given}'.")
        if not content:
            raise _Refused(400, "The body must be an image file; got nothing.")
        if not self.with_labels:
            return content
        return content, [label.strip() for label in request.query_params.get("labels", "").split(",")]

    def _texts(self, content_type: str, content: bytes) -> dict[str, str]:
        if content_type != "application/json":
            raise _Refused(415, f"The content type must be application/json; got '{content_type}'.")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            raise _Refused(400, "The body must be JSON; got something else.") from None
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in self.fields):
            raise _Refused(422, f"The body must be an object with the texts {' and '.join(self.fields)}.")
        other = [name for name in _TEXTS if name in found and name not in self.fields]
        if other:
            # Read without it, a pair would be taken for one text.
            raise _Refused(422, f"The body must have the texts {' and '.join(self.fields)} alone; got {other[0]}, too.")
        return {name: found[name] for name in self.fields}


def _form_of(predictor: Predictor | DualPredictor) -> _Form:
    reader = predictor.reader
    if isinstance(predictor, DualPredictor):
        return _Form("choice", (), with_labels=True)
    if predictor.facts.pairs:
        return _Form("pairs", ("text", "text_pair"))
    return _Form(reader.inputs, reader.fields)


async def _content(request: Request, limits: Limits) -> bytes:
    """Return the whole of a request, if it is small and comes in time."""
    # A length that is told is refused before anything is read; one that is not, while it is.
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > limits.most_bytes:
        raise _Refused(413, f"An input may have at most {limits.most_bytes:,} bytes.")

    async def read() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.most_bytes:
                raise _Refused(413, f"An input may have at most {limits.most_bytes:,} bytes.")
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), limits.read_seconds)
    except TimeoutError:
        raise _Refused(408, f"The input did not arrive within {limits.read_seconds:g} seconds.") from None


def _answer(predictor: Predictor | DualPredictor, form: _Form, given: Any) -> dict[str, object]:
    if isinstance(predictor, DualPredictor):
        image, labels = given
        found = predictor.predict([image], labels)[0].plain()
    else:
        outcome = _of_one(predictor, form, given)
        found = outcome.served() if isinstance(outcome, SegmentedImage) else outcome.plain()
    try:
        # NaN is no JSON: the browser could not read the answer.
        json.dumps(found, allow_nan=False)
    except ValueError:
        raise _Refused(500, "The model's scores must be finite numbers; got NaN or infinity.") from None
    return found


def _of_one(predictor: Predictor, form: _Form, given: Any) -> Prediction | Answer | Generation:
    """Return the prediction for one input.

    Texts do not go through `predict`, which looks whether one names a file here.
    """
    if predictor.facts.pairs:
        given = tuple(given[name] for name in form.fields)
    elif form.fields:
        given = predictor.reader.from_fields(given)
    outcome: Prediction | Answer | Generation | HftransferError = next(iter(predictor.predict_each([given])))
    if isinstance(outcome, HftransferError):
        raise outcome
    return outcome


def server_settings(app: FastAPI, limits: Limits) -> uvicorn.Config:
    """Return how the application is served: with time limits for headers and for connections that are kept open."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes connections whose request does not begin in time: its headers are late, or never end."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._look()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _look(self) -> None:
            # A request has begun, or its answer is on the way: the timer is for headers alone.
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds, self._too_late)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_late(self) -> None:
            self._timer = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return uvicorn.Config(
        app,
        http=Impatient,
        log_level="error",
        timeout_keep_alive=5,
        limit_concurrency=limits.most_connections,
        timeout_graceful_shutdown=5,
        server_header=False,
    )


class Server:
    """A model that answers at an address of this machine until it is stopped, or the block of a `with` is left."""

    def __init__(self, predictor: Predictor | DualPredictor, name: str, port: int, limits: Limits) -> None:
        import uvicorn

        self._listening = _listening(port)
        self.port: int = self._listening.getsockname()[1]
        self._server = uvicorn.Server(server_settings(make_app(predictor, name, limits), limits))
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The address of the page; inputs are sent to `/predict` below it."""
        return f"http://{HOST}:{self.port}"

    def run(self) -> None:
        """Answer in this thread until SIGINT or SIGTERM, which then have their usual effect."""
        with self._listening:
            self._server.run(sockets=[self._listening])

    def start(self) -> None:
        """Answer in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name=f"hftransfer at {self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer what is in work, and end."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        is_up = self._thread is not None and self._thread.is_alive()
        return f"Server({self.address!r})" if is_up else "Server(stopped)"


def _listening(port: int) -> socket.socket:
    """Return a socket that listens on a port; 0 takes a free one.

    Raises:
        RecipeError: the port is taken.
    """
    listening = socket.socket()
    # The port is free again as soon as the server has ended, and not minutes later.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise RecipeError(must_be("--port", "free (0 picks a free one)", port, str(error))) from error
    return listening
