"""The model server's HTTP side: MLflow's scoring protocol, limits, health, metrics.

Starlette on uvicorn: both are there already (Dagster's web server and MLflow's own scoring server run on them), and a
few routes need no more. Frameworks for serving (BentoML, Ray Serve, ``mlflow models serve``) bring loaders that trust
what is in the model's file, and change a version by a restart or a deployment.

Small requests are scored in the event loop, all that have arrived together in one go: a forward pass costs the same for
one row as for a hundred. Large ones have threads, a few at a time.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mlops_assets.errors import DataError, MlopsAssetsError
from mlops_assets.serving.metrics import Metrics
from mlops_assets.serving.requests import CSV, JSON, Columns, CsvForm, columns_of
from mlops_assets.steps.threads import limit_openmp_threads

if TYPE_CHECKING:
    from mlops_assets.serving.config import ServingConfig
    from mlops_assets.serving.following import Following
    from mlops_assets.serving.model import ServedModel

SMALL_BYTES = 16_384
_GATHER_SECONDS = 0.001
"""So long small requests wait for others where the last ones were several: those that were just answered send the next.
With 8 clients they fall into two groups that take turns otherwise, and each takes as long as all together."""

_LARGE_AT_A_TIME = 2
_IDLE_SECONDS = 75
"""Longer than proxies keep a connection that nobody uses: else they send into one that is being closed."""


_CODES = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 413: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR"} | {
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""What MLflow's errors call them, by HTTP status."""


class ModelServer:
    """Answers with the model that `Following` has."""

    def __init__(self, following: Following, config: ServingConfig, csv: CsvForm) -> None:
        """Nothing listens until `run`."""
        self._following, self._config, self._csv = following, config, csv
        self._metrics, self._running = Metrics(following, lambda: self._running), 0
        self._waiting: dict[ServedModel, list[tuple[Columns, asyncio.Future[Any]]]] = {}
        self._are_many = False
        self._threads = ThreadPoolExecutor(_LARGE_AT_A_TIME, "large request")
        self._large = anyio.CapacityLimiter(_LARGE_AT_A_TIME)
        routes: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/ping": self._ping, "/health": self._health, "/version": self._version, "/metrics": self._shown
        }  # fmt: skip
        app = Starlette(
            routes=[
                Route("/invocations", self._invocations, methods=["POST"]),
                *(Route(path, endpoint) for path, endpoint in routes.items()),
            ],
            exception_handlers={HTTPException: self._refusal, Exception: self._refusal},
        )
        how = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=max(1, round(config.timeout_seconds)),
        )
        self._server = uvicorn.Server(how)

    def run(self, listening: socket.socket) -> None:
        """Answer until SIGTERM, SIGINT or `stop`; requests that were begun are answered first."""
        # Two that want all cores would wait for each other.
        limit_openmp_threads(max(1, (os.cpu_count() or 1) // _LARGE_AT_A_TIME))
        self._following.start()
        try:
            self._server.run([listening])
        finally:
            self._following.stop()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End `run`; from another thread."""
        self._server.should_exit = True

    async def _invocations(self, request: Request) -> Response:
        began, status = time.perf_counter(), 500
        self._running += 1
        try:
            with anyio.fail_after(self._config.timeout_seconds):
                response = await self._answer(request)
        except HTTPException as error:
            status = error.status_code
            raise
        except DataError as error:
            raise HTTPException(status := 400, str(error)) from error
        except TimeoutError as error:
            limit = f"{self._config.timeout_seconds:g} s (MLOPS_SERVE_TIMEOUT_SECONDS)"
            why = f"The request took longer than {limit}. Send fewer rows at a time."
            raise HTTPException(status := 504, why) from error
        except ClientDisconnect:
            return Response(status_code=(status := 499))  # the client is gone
        else:
            status = 200
            return response
        finally:
            self._running -= 1
            self._metrics.seconds.observe(time.perf_counter() - began)
            self._metrics.requests.labels(status).inc()

    async def _answer(self, request: Request) -> Response:
        self._authorize(request)
        if self._running > self._config.max_requests:
            why = f"{self._config.max_requests} requests are worked on (MLOPS_SERVE_MAX_REQUESTS). Try again soon."
            raise HTTPException(503, why)
        media_type, length = _media_type(request), request.headers.get("content-length", "")
        is_small = length.isdecimal() and int(length) <= SMALL_BYTES
        # The body of a large one is read when its turn comes: what waits lies with the client, not in memory here.
        async with nullcontext() if is_small else self._large:
            body = await self._body(request, int(length) if length.isdecimal() else 0)
            model = self._following.model
            if model is None:
                raise HTTPException(503, f"No model serves. {self._following.problem}")
            if is_small:
                columns = columns_of(body, media_type, model.kinds, self._csv)
                content, rows = _written(model, columns, await self._scored_together(model, columns))
            else:
                work = partial(_scored_alone, model, body, media_type, self._csv)
                content, rows = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._metrics.rows.labels(model.number).inc(rows)
        return Response(content, media_type=JSON, headers=_headers(model))

    def _scored_together(self, model: ServedModel, columns: Columns) -> asyncio.Future[Any]:
        """What becomes of a small request: it is scored with all others that have arrived by then."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_later(_GATHER_SECONDS if self._are_many else 0, self._score_waiting)
        scored: asyncio.Future[Any] = loop.create_future()
        self._waiting.setdefault(model, []).append((columns, scored))
        return scored

    def _score_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._are_many = sum(map(len, waiting.values())) > 1
        for model, requests in waiting.items():
            for (_, future), result in zip(requests, model.score([columns for columns, _ in requests]), strict=True):
                if not future.done():  # else its time was up
                    future.set_result(result)

    async def _body(self, request: Request, announced: int) -> bytes:
        limit, body = self._config.max_megabytes * 1_000_000, bytearray()
        if announced <= limit:
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    break
        if max(announced, len(body)) > limit:
            why = f"The body is larger than {self._config.max_megabytes} MB (MLOPS_SERVE_MAX_MEGABYTES)."
            raise HTTPException(413, f"{why} Send fewer rows at a time.")
        return bytes(body)

    def _authorize(self, request: Request) -> None:
        if not self._is_authorized(request):
            why = "Expected the header 'Authorization: Bearer TOKEN' with the token of MLOPS_SERVE_TOKEN."
            raise HTTPException(401, why, {"WWW-Authenticate": "Bearer"})

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = self._config.token.encode()
        return not token or (scheme.lower() == "bearer" and hmac.compare_digest(given.encode("latin-1"), token))

    async def _refusal(self, _request: Request, error: Exception) -> Response:
        """An error as MLflow's clients read it; one of ours is logged by uvicorn."""
        status, why, headers = 500, "The model server failed; its log says how. The request may be right.", {}
        if isinstance(error, HTTPException):
            status, why, headers = error.status_code, error.detail, dict(error.headers or {})
        headers |= {"Retry-After": "1"} if status == 503 else {}  # noqa: PLR2004
        code = _CODES.get(status, "BAD_REQUEST")
        return JSONResponse({"error_code": code, "message": why}, status, headers | _headers(self._following.model))

    async def _ping(self, _request: Request) -> Response:
        model = self._following.model
        return Response("\n", 200 if model else 503, _headers(model), JSON)

    async def _health(self, request: Request) -> Response:
        """Status for machines; details only for those who may ask the model."""
        model, problem = self._following.model, self._following.problem
        status = "ok" if model and not problem else "degraded" if model else "no model"
        facts: dict[str, Any] = {"status": status}
        if self._is_authorized(request):
            facts |= {"model_name": model.name, "model_version": model.number} if model else {}
            facts |= {"problem": problem} if problem else {}
        return JSONResponse(facts, 200 if model else 503, _headers(model))

    async def _version(self, _request: Request) -> Response:
        """The version of the protocol, that is of MLflow."""
        return Response(version("mlflow"), media_type=JSON)

    async def _shown(self, request: Request) -> Response:
        self._authorize(request)
        return PlainTextResponse(self._metrics.text())


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        MlopsAssetsError: The address is taken or not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise MlopsAssetsError(
            f"The model server cannot listen on port {port} of {host}: {error.strerror or error}. Stop what listens"
            " there, or set MLOPS_SERVE_PORT or MLOPS_SERVE_HOST."
        ) from error


def _scored_alone(model: ServedModel, body: bytes, media_type: str, csv: CsvForm) -> tuple[bytes, int]:
    columns = columns_of(body, media_type, model.kinds, csv)
    return _written(model, columns, *model.score([columns]))


def _written(model: ServedModel, columns: Columns, scored: Any) -> tuple[bytes, int]:
    """The answer and its number of rows."""
    if isinstance(scored, Exception):
        raise scored
    return model.answer(columns, scored), len(scored)


def _media_type(request: Request) -> str:
    given = request.headers.get("content-type", "")
    media_type, *parameters = [part.strip().lower() for part in given.split(";")]
    if media_type not in (JSON, CSV) or any(one.replace('"', "") not in ("charset=utf-8", "") for one in parameters):
        why = f"Expected the header 'Content-Type: {JSON}' or '{CSV}', in UTF-8; found {given!r}."
        raise HTTPException(415, why)
    return media_type


def _headers(model: ServedModel | None) -> dict[str, str]:
    return {"X-Model-Name": quote(model.name), "X-Model-Version": str(model.number)} if model else {}
