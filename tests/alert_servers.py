"""Real servers on the loopback interface that alerts are sent to: a mail server and a web server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

USER, PASSWORD, TOKEN = "herring", "s3cret-Pa55", "T0ken-in-the-path"


class _AnyPort(Controller):
    """Listens where there is room; the library would look for itself on port 0."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class MailServer:
    """Takes mails of one user; with another password it refuses."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self._controller = _AnyPort(
            self, hostname="127.0.0.1", port=0, authenticator=self._login, auth_require_tls=False
        )

    def url(self, password: str = PASSWORD) -> str:
        return (
            f"mailto://{USER}:{password}@127.0.0.1:{self._controller.port}?from=mlops@example.org&to=team@example.org"
        )

    def _login(self, server, session, envelope, mechanism, auth_data) -> AuthResult:
        good = isinstance(auth_data, LoginPassword) and auth_data.password == PASSWORD.encode()
        return AuthResult(success=good and auth_data.login == USER.encode(), handled=False)

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        if not session.authenticated:
            return "530 Authentication required"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


class Sink:
    """Takes what is posted; answers with ``status``, after ``seconds``."""

    def __init__(self) -> None:
        self.posts: list[dict] = []
        self.status, self.seconds = 200, 0.0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(sink.seconds)
                if sink.status == 200:
                    sink.posts.append(content)
                self.send_response(sink.status)
                self.end_headers()
                # a careless server: it repeats what it was sent
                self.wfile.write(f"{self.path} {self.headers['Authorization']}".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"json://{USER}:{PASSWORD}@127.0.0.1:{self.server.server_port}/hooks/{TOKEN}"


@contextmanager
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    server._controller.start()
    try:
        yield server
    finally:
        server._controller.stop()


@contextmanager
def web_sink() -> Iterator[Sink]:
    sink = Sink()
    thread = threading.Thread(target=sink.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield sink
    finally:
        sink.server.shutdown()
        thread.join()
        sink.server.server_close()


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for secret in (USER, PASSWORD, TOKEN):
            assert secret not in text, text
