"""An OTLP/HTTP receiver in a process of its own that counts spans: what benches of traces send to.

`python -m antiphon.bench.calls.otlp_sink` prints its port; `GET /` answers with the number of spans. With `--stall` it
takes requests and never answers, as a collector does that has come to a stop.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from antiphon.bench._lib.processes import process

STALL: Final = "--stall"


class OtlpSink:
    """The receiver as a bench sees it. Owned by `otlp_sink`, which ends its process."""

    def __init__(self, port: int) -> None:
        self.url: Final = f"http://127.0.0.1:{port}"
        self.traces: Final = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{self.url}/v1/traces"}
        """Variables of a process that sends its traces here."""

    def spans(self) -> int:
        """How many came so far."""
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            return int(json.loads(answer.read())["spans"])


@contextmanager
def otlp_sink(stall: bool = False) -> Iterator[OtlpSink]:
    command = [sys.executable, "-m", "antiphon.bench.calls.otlp_sink", *([STALL] if stall else [])]
    with process(command, stdout=subprocess.PIPE, text=True) as child:
        yield OtlpSink(int(child.stdout.readline()))
        child.stdout.close()


def main() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    lock = threading.Lock()
    spans = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            nonlocal spans
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if STALL in sys.argv:
                threading.Event().wait()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path.endswith("/traces"):
                request = ExportTraceServiceRequest.FromString(body)
                came = sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)
                with lock:
                    spans += came
            self._answer(b"", "application/x-protobuf")

        def do_GET(self) -> None:
            self._answer(json.dumps({"spans": spans}).encode(), "application/json")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
