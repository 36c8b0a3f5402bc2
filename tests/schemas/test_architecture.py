"""The house rules that a reader relies on: who imports whom, and that extras say what is really needed."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final = ROOT / "schemas" / "antiphon" / "schemas"
HOMES: Final = [ROOT / name for name in ("schemas", "libs", "sdk", "cli", "demo", "bench")] + [
    path for path in sorted((ROOT / "services").iterdir()) if (path / "antiphon").is_dir()
]
"""Folders that hold packages below `antiphon`."""
SDK: Final = ROOT / "sdk" / "antiphon" / "agent"
EXTRA_OF: Final = {
    "relay": "relay",
    "transceiver": "transceiver",
    "signaling": "signaling",
    "inference_bridge": "inference-bridge",
}
TELEMETRY_ONLY_WHEN_ON: Final = "opentelemetry"
"""`antiphon.runtime.telemetry` loads the SDK when an endpoint is set; the extra `telemetry` brings it."""

IN_EXTRA_VOICES: Final = re.compile(
    r"tts/kokoro\.py imports piper_plus_g2p\.spanish,|tts/word_phonemes\.py imports pycrfsuite,"
)
"""Imported where a voice of the extra `voices` is loaded; the service runs without it."""

CARRIED: Final = {"starlette": "fastapi", "h11": "uvicorn", "ctranslate2": "faster-whisper"}
"""Distributions that are the public ground of another one, so that naming the other is enough."""


def _package(service: str) -> Path:
    return ROOT / "services" / EXTRA_OF[service] / "antiphon" / service


def _imports(package: Path) -> Iterator[tuple[Path, str]]:
    """(file, module) of every import in a package, those inside functions too."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield file, alias.name
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import; packages are imported by their full name"
                module = node.module or ""
                # `from antiphon import relay` names its module behind the import.
                names = [f"antiphon.{alias.name}" for alias in node.names] if module == "antiphon" else [module]
                yield from ((file, name) for name in names)


MAY_IMPORT: Final = {
    "schemas": "",
    "runtime": "schemas",
    "rtc": "schemas runtime",
    "testing": "schemas runtime rtc",
    "relay": "schemas runtime",
    "transceiver": "schemas runtime rtc",
    "signaling": "schemas runtime rtc",
    "inference_bridge": "schemas runtime",
    "agent": "schemas runtime testing",
    "demo": "schemas agent inference_bridge.agents",
    "cli": "schemas runtime rtc testing agent inference_bridge",
    "bench": "schemas runtime rtc testing agent inference_bridge signaling.placement cli",
}
"""Package -> what of ours it may import besides itself. `docs/architecture.md` shows the same table."""

INSIDE: Final = {
    "relay.core": "counters",
    "relay.dataplane": "core control.ipc",
    "relay.control": "core counters settings",
    "transceiver.ice": "session.state",
    "transceiver.timing": "",
    "transceiver.media": "session.state timing.pacing",
    "transceiver.session": "ice media timing.pacing",
    "transceiver.bus": "ice.agent net",
    "transceiver.net": "ice.agent session.session",
    "transceiver.lanes": "ice.agent net session",
    "transceiver.calls": "bus ice.agent media.call_mixer net session settings timing.pacing timing.scheduler",
    "transceiver.failover": "bus calls ice.seen_checks net session",
    "transceiver.composition": (
        "bus calls copies failover lanes metrics net prepared session settings timing.scheduler"
    ),
    "transceiver.copies": "failover net session",
    "transceiver.prepared": "calls net session",
    "signaling.connections": "http.errors settings trusted_proxies",
    "signaling.calls": "auth http limits.secret_uses placement settings",
    "signaling.http": (
        "auth calls console limits operators placement protocols settings trusted_proxies websocket_calls"
    ),
    "signaling.console": "auth http operators.routes",
    "signaling.auth": "http.errors limits.limits",
    "signaling.limits": "http.errors placement.backend settings",
    "signaling.placement": "http.errors settings",
    "signaling.protocols": "auth calls http placement settings websocket_calls",
    "signaling.webhooks": "",
    "signaling.operators": "auth http placement protocols.openai_calls",
    "signaling.websocket_calls": "auth http.errors placement settings",
    "inference_bridge.stt": "languages",
    "inference_bridge.tts": "languages",
    "inference_bridge.realtime_protocol": "languages turns.turn_settings",
    "inference_bridge.agents": "languages phrases realtime_protocol replies retry_after",
    "inference_bridge.replies": "agents",
    "inference_bridge.turns": "languages stt.chunking",
    "inference_bridge.input": "models.voice_activity turns",
    "inference_bridge.models": (
        "agents languages phrases replies retry_after settings stt tts turns.window unless_stopped"
    ),
    "inference_bridge.conversation": (
        "agents dispatch.conversation_snapshot input languages models phrases realtime_protocol stt.local_agreement "
        "tts turns"
    ),
    "inference_bridge.file_agents": (
        "agents models.measured models.remote.language_model phrases realtime_protocol.turn_detection settings"
    ),
    "inference_bridge.dispatch": (
        "agents conversation input languages models phrases realtime_protocol settings stt tts turns unless_stopped"
    ),
}
"""Folder of a service -> what of the same service it may import besides itself; files at a service's top may all."""


def _package_of(file: Path) -> str:
    """`antiphon.relay.core.core` of its path."""
    parts = file.with_suffix("").parts
    return ".".join(parts[len(parts) - 1 - parts[::-1].index("antiphon") :]).removesuffix(".__init__")


def _is_within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _ours(package: Path) -> Iterator[tuple[Path, str]]:
    """(file, full name of the module) of every import of ours; `from antiphon.relay import core` names the second."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from ((file, name) for name in names if _is_within(name, ["antiphon"]))


def _home(package: str) -> Path:
    """Where the package with this name is."""
    found = [root for root in HOMES if (root / "antiphon" / package).is_dir()]
    assert len(found) == 1, f"{package} is in {found}"
    return found[0] / "antiphon" / package


@pytest.mark.pure
@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_what_the_table_allows_only(package: str) -> None:
    allowed = [f"antiphon.{each}" for each in (package, *MAY_IMPORT[package].split())]
    wrong = [
        f"{file.relative_to(ROOT)}: {name}" for file, name in _ours(_home(package)) if not _is_within(name, allowed)
    ]
    assert not wrong


@pytest.mark.pure
@pytest.mark.parametrize("folder", INSIDE)
def test_a_folder_of_a_service_imports_what_the_table_allows_only(folder: str) -> None:
    service, inner = folder.split(".")
    allowed = [f"antiphon.{service}.{each}" for each in (inner, *INSIDE[folder].split())]
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file, name in _ours(_home(service) / inner)
        if _is_within(name, [f"antiphon.{service}"]) and not _is_within(name, allowed)
    ]
    assert not wrong


@pytest.mark.pure
def test_the_tables_name_every_package_and_every_folder_of_a_service() -> None:
    packages = {path.name for root in HOMES for path in (root / "antiphon").iterdir() if path.is_dir()}
    assert packages - {"__pycache__"} == set(MAY_IMPORT)
    folders = {
        f"{service}.{path.parent.name}" for service in EXTRA_OF for path in _package(service).glob("*/__init__.py")
    }
    assert folders == set(INSIDE)


@pytest.mark.pure
def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `antiphon\.(\w+)` \|[^|]*\| (.*) \|$", page, re.M)
    assert dict(rows) == {name: ", ".join(row.split()) or "nothing of ours" for name, row in MAY_IMPORT.items()}


@pytest.mark.pure
def test_antiphon_is_a_namespace_that_every_package_may_add_to() -> None:
    assert not [home for home in HOMES if (home / "antiphon" / "__init__.py").exists()]


CONNECTS: Final = {"nats.connect", "nats.aio.client.Client", "nats.NATS", "nats.aio.client.NATS"}
CLIENT: Final = ROOT / "libs" / "antiphon" / "runtime" / "nats" / "reconnecting_client.py"
"""The one place that may make a client of nats-py's."""
STRANGER: Final = ROOT / "examples" / "plain_nats_agent.py"
"""Shows what any NATS client can do, without a line of ours."""


_IMPORTS_NATS: Final = re.compile(r"^[ \t]*(?:from|import)\b[^#\n]*\bnats\b", re.MULTILINE)
"""Also an import of `antiphon.runtime.nats`, which hides no client of nats-py's."""


def _full_names(tree: ast.AST) -> dict[str, str]:
    """What the names that a file imports stand for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _connections(file: Path) -> Iterator[str]:
    """Calls and subclasses by which a file makes a client of nats-py's."""
    text = file.read_text()
    if not _IMPORTS_NATS.search(text):
        return  # most files, and parsing one takes milliseconds
    tree = ast.parse(text)
    names = _full_names(tree)

    def full(node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            before = full(node.value)
            return before and f"{before}.{node.attr}"
        return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    for node in ast.walk(tree):
        called = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        yield from (f"{file.relative_to(ROOT)}:{node.lineno} {full(each)}" for each in called if full(each) in CONNECTS)  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.pure
def test_every_connection_to_nats_is_made_by_the_bus() -> None:
    """nats-py's own client may be connected and never read again: `runtime.nats.reconnecting_client` says how."""
    found = [
        each
        for part in ("schemas", "libs", "services", "sdk", "cli", "demo", "examples", "bench", "tests", "deploy")
        for file in sorted((ROOT / part).rglob("*.py"))
        if file not in (CLIENT, STRANGER)
        for each in _connections(file)
    ]
    assert not found, "use antiphon.runtime.nats.connection.connect or connect_once"
    assert list(_connections(CLIENT))
    assert list(_connections(STRANGER))


# ---- extras ------------------------------------------------------------------------------------------


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(extra: str | None) -> set[str]:
    """The distributions that an extra names, with what it takes from other extras and what all have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    for requirement in [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]:
        name = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert name is not None
        if name[0] == "antiphon":
            inner = re.search(r"\[(.*?)\]", requirement)
            assert inner is not None
            for other in inner[1].split(","):
                found |= _declared(other.strip())
        else:
            found.add(_normal(name[0]))
    return found


def _undeclared(package: Path, extra: str | None) -> list[str]:
    providers = importlib.metadata.packages_distributions()
    declared = _declared(extra)
    wrong = []
    for file, module in _imports(package):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "antiphon":
            continue
        distributions = {_normal(name) for name in providers.get(top, [top])}
        if top == TELEMETRY_ONLY_WHEN_ON:
            distributions &= {"opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"}
        distributions |= {CARRIED[name] for name in distributions & CARRIED.keys()}
        if not distributions & declared:
            wrong.append(
                f"{file.relative_to(ROOT)} imports {module}, which {extra or 'the base install'} does not name"
            )
    return wrong


@pytest.mark.pure
@pytest.mark.parametrize("service", EXTRA_OF)
def test_a_service_imports_nothing_that_its_extra_does_not_name(service: str) -> None:
    undeclared = _undeclared(_package(service), EXTRA_OF[service])
    assert not [line for line in undeclared if not IN_EXTRA_VOICES.search(line)]


@pytest.mark.pure
def test_the_schemas_need_the_base_install_and_the_routers_cryptography_only() -> None:
    wrong = _undeclared(SCHEMAS, None)
    assert all("route_token.py imports cryptography" in line for line in wrong), wrong


@pytest.mark.pure
def test_the_sdk_needs_the_base_install_only_and_pipecat_for_its_transport() -> None:
    # The test kit is loaded by pytest alone, and says what a call of an audio agent needs.
    apart = re.compile(r"agent/(pipecat\.py imports pipecat\.|testing/)")
    wrong = [line for line in _undeclared(SDK, None) if not apart.search(line)]
    assert not wrong
    assert not [
        line for line in _undeclared(SDK, "pipecat") if "imports pipecat" not in line and not apart.search(line)
    ]


@pytest.mark.process
def test_the_sdk_is_imported_without_the_pipecat_extra_and_without_numpy() -> None:
    script = "import sys, antiphon.agent; assert not {'numpy', 'pipecat', 'aiortc', 'fastapi'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.process
def test_an_offer_is_read_without_a_media_library() -> None:
    """Signaling reads offers, and its extra names none of these."""
    script = (
        "import sys, antiphon.rtc.sdp; assert not {'numpy', 'aiortc', 'av', 'cffi', 'OpenSSL'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.pure
def test_the_relay_has_no_media_library() -> None:
    assert not _declared("relay") & {"aiortc", "pylibsrtp", "pyopenssl", "av", "numpy"}


@pytest.mark.pure
def test_every_default_dependency_is_free_of_gpl() -> None:
    """Copyleft parts stay out of the default install: what these licences demand would reach our users."""
    copyleft = {}
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        classifiers = [line for line in metadata.get_all("Classifier", []) if line.startswith("License")]
        stated = [*metadata.get_all("License-Expression", []), *metadata.get_all("License", [])]
        licence = " ".join([*classifiers, *(text[:200] for text in stated)])
        if re.search(r"(?<!L)GPL", licence) and not re.search(r"LGPL|Lesser", licence):
            copyleft[metadata["Name"]] = licence
    assert not copyleft
