"""A small real HTTP server that answers as Banco Central's open data service does for CotacaoDolarPeriodo."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RESOURCE = "/odata/CotacaoDolarPeriodo(dataInicial=@dataInicial,dataFinalCotacao=@dataFinalCotacao)"


class BancoCentral:
    """Closings by day; `answer` replaces what is said (a status and a body) while it is set."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.closings: dict[date, str] = {}
        self.answer: tuple[int, bytes] | None = None
        self.asked: list[str] = []

    def respond(self, target: str) -> tuple[int, bytes]:
        self.asked.append(target)
        if self.answer is not None:
            return self.answer
        parts = urlsplit(target)
        query = dict(pair.split("=", 1) for pair in unquote(parts.query).split("&"))
        if unquote(parts.path) != RESOURCE or query.get("$format") != "json" or "+" in parts.query:
            return 400, b'{"erro": "Recurso invalido"}'
        start, end = (self._day(query[name]) for name in ("@dataInicial", "@dataFinalCotacao"))
        found = [day for day in sorted(self.closings, reverse=True) if start <= day <= end]
        rows = ", ".join(
            f'{{"cotacaoVenda": {self.closings[day]}, "dataHoraCotacao": "{day} 13:10:22.642754"}}'
            for day in found[: int(query["$top"])]
        )
        return 200, f'{{"@odata.context": {json.dumps(self.url)}, "value": [{rows}]}}'.encode()

    @staticmethod
    def _day(text: str) -> date:
        assert re.fullmatch(r"'[0-9]{2}-[0-9]{2}-[0-9]{4}'", text), text
        return datetime.strptime(text, "'%m-%d-%Y'").date()  # noqa: DTZ007


@contextmanager
def banco_central() -> Iterator[BancoCentral]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = bank.respond(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json;odata.metadata=minimal")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bank = BancoCentral(f"http://127.0.0.1:{server.server_port}/odata")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield bank
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
