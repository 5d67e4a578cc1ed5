"""A small local server for one trained model: a page to try it, and an address to send inputs to.

It listens on the loopback interface alone, takes what is small and of a known type, and answers one input at a time;
what is wrong with a request is told in its answer, and the server goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from hftransfer.artifact import Predictor
from hftransfer.errors import HftransferError, RecipeError, must_be
from hftransfer.zeroshot import DualPredictor

HOST = "127.0.0.1"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src blob:"
_TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff", "application/octet-stream")


@dataclass(frozen=True)
class Limits:
    """How large a request may be, how long it may take to come, how long to be answered, and how many may wait."""

    most_bytes: int = 10 << 20
    read_seconds: float = 20.0
    answer_seconds: float = 60.0
    most_waiting: int = 8


class _Refused(Exception):
    """A request that is not answered with a prediction."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def make_app(predictor: Predictor | DualPredictor, name: str, limits: Limits | None = None) -> FastAPI:
    """The application: `GET /` the page, `GET /about` what the model takes, `POST /predict` an input."""
    limits, kind = limits or Limits(), _kind_of(predictor)
    app = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    worker, waiting = ThreadPoolExecutor(1), asyncio.Semaphore(limits.most_waiting)
    labels = [] if kind in ("questions", "choice") else _labels(predictor)
    about: dict[str, Any] = {"model": name, "takes": kind, "labels": labels}
    if isinstance(predictor, Predictor):
        about |= {"scores": predictor.scoring, "note": predictor.note}

    @app.middleware("http")
    async def careful(request: Request, go_on: Callable[[Request], Any]) -> Response:
        """What no page of another site may ask for, and what a browser may do with our answers."""
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _told(403, "This server answers its own page and programs on this machine alone.")
        answer: Response = await go_on(request)
        answer.headers["Content-Security-Policy"] = _POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    @app.get("/")
    async def page() -> HTMLResponse:
        """The page."""
        return HTMLResponse(files("hftransfer").joinpath("page.html").read_text(encoding="utf-8"))

    @app.get("/about")
    async def describe() -> dict[str, Any]:
        """What the model is called, what it takes, its labels, what scores are, and what one should know of it."""
        return about

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """The prediction for one input."""
        if waiting.locked():
            return _told(503, "Too many inputs wait already: try again.")
        async with waiting:
            try:
                content = await _content(request, limits)
                given = _input(kind, request, content)
                work = asyncio.get_running_loop().run_in_executor(worker, _answer, predictor, kind, given)
                return JSONResponse(await asyncio.wait_for(asyncio.shield(work), limits.answer_seconds))
            except _Refused as refused:
                return _told(refused.status, refused.message)
            except HftransferError as error:
                return _told(422, " ".join(error.faults))
            except TimeoutError:
                return _told(504, f"No answer within {limits.answer_seconds:g} seconds.")

    return app


def _told(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)


def _kind_of(predictor: Predictor | DualPredictor) -> str:
    if isinstance(predictor, DualPredictor):
        return "choice"
    if predictor.facts.task == "question-answering":
        return "questions"
    if predictor.adapter.modality == "image":
        return "images"
    return "pairs" if predictor.facts.pairs else "texts"


def _labels(predictor: Predictor | DualPredictor) -> list[str]:
    return [] if isinstance(predictor, DualPredictor) else list(predictor.class_names)


async def _content(request: Request, limits: Limits) -> bytes:
    """The whole of a request, if it is small and comes in time."""
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > limits.most_bytes:
        raise _Refused(413, f"An input may have {limits.most_bytes:,} bytes at most.")

    async def read() -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limits.most_bytes:
                raise _Refused(413, f"An input may have {limits.most_bytes:,} bytes at most.")
            parts.append(part)
        return b"".join(parts)

    try:
        return await asyncio.wait_for(read(), limits.read_seconds)
    except TimeoutError:
        raise _Refused(408, f"The input did not come within {limits.read_seconds:g} seconds.") from None


def _input(kind: str, request: Request, content: bytes) -> Any:
    """What the model is given, from a request."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("images", "choice"):
        if given not in _TYPES:
            raise _Refused(415, f"The content type must be that of an image ({', '.join(_TYPES[:3])}); got '{given}'.")
        if not content:
            raise _Refused(400, "The body must be an image file; got nothing.")
        if kind == "images":
            return content
        labels = [label.strip() for label in request.query_params.get("labels", "").split(",")]
        return content, labels
    if given != "application/json":
        raise _Refused(415, f"The content type must be application/json; got '{given}'.")
    wanted = {"texts": ("text",), "pairs": ("text", "text_pair"), "questions": ("question", "context")}[kind]
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise _Refused(400, "The body must be JSON; got something else.") from None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in wanted):
        raise _Refused(422, f"The body must be an object with the texts {' and '.join(wanted)}.")
    return found if kind == "questions" else found["text"] if kind == "texts" else (found["text"], found["text_pair"])


def _answer(predictor: Any, kind: str, given: Any) -> dict[str, Any]:
    if kind == "choice":
        image, labels = given
        return asdict(predictor.predict([image], labels)[0])
    return asdict(predictor.predict([given])[0])


def serve(
    predictor: Predictor | DualPredictor, name: str, port: int, limits: Limits, tell: Callable[[str], None]
) -> None:
    """Nothing; answers until it is stopped. `tell` is given the address when it listens; port 0 takes a free one.

    Raises:
        RecipeError: the port is taken.
    """
    import socket

    import uvicorn

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RecipeError(must_be("--port", "free (0 takes one that is)", port, str(error))) from error
        listening.listen()
        tell(f"http://{HOST}:{listening.getsockname()[1]}")
        config = uvicorn.Config(
            make_app(predictor, name, limits),
            log_level="error",
            timeout_keep_alive=5,
            limit_concurrency=32,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
        uvicorn.Server(config).run(sockets=[listening])
