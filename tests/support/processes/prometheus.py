"""A real Prometheus (Debian's package) with our configuration, for targets on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

CONFIGURATION: Final = Path(__file__).parents[3] / "deploy" / "prometheus"
START_WITHIN: Final = 20.0


class QueryError(ValueError):
    """Prometheus does not understand the query."""


class Prometheus:
    """Answers queries. Owned by `prometheus`, which ends its process."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector now; a scalar is a vector of one. QueryError with what Prometheus says."""
        answer = self._get("query", query=expression)
        if answer["status"] != "success":
            raise QueryError(f"{expression}: {answer['error']}")
        data = answer["data"]
        return [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else list(data["result"])

    def ready_targets(self) -> set[str]:
        """Jobs with a target that was scraped."""
        targets = self._get("targets")["data"]["activeTargets"]
        return {each["labels"]["job"] for each in targets if each["health"] == "up"}

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Traces that points of a histogram name."""
        now = time.time()
        found = self._get("query_exemplars", query=expression, start=str(now - 600), end=str(now))["data"]
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        request = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        found: dict[str, Any] = json.loads(body)
        return found


@contextmanager
def prometheus(directory: Path, targets: Mapping[str, Sequence[str]], every: str = "500ms") -> Iterator[Prometheus]:
    """`targets`: addresses by the job of deploy/prometheus/prometheus.yml that scrapes them in compose."""
    configuration = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    configuration["global"] |= {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(CONFIGURATION / "alerts.yml")]
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    for name, addresses in targets.items():
        jobs[name].pop("dns_sd_configs", None)
        jobs[name]["static_configs"] = [{"targets": list(addresses)}]
    configuration["scrape_configs"] = [jobs[name] for name in targets]
    for job in configuration["scrape_configs"]:
        job.pop("file_sd_configs", None)
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
    command += [f"--web.listen-address={address}", "--enable-feature=exemplar-storage", "--log.level=warn"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        deadline = time.monotonic() + START_WITHIN
        while not _is_ready(address):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline, "Prometheus is not ready"
            time.sleep(0.05)
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
