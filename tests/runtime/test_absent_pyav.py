"""Without PyAV the services load, and what they use of aiortc and faster-whisper works."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def without_pyav(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lines that make an interpreter see all that is installed but PyAV."""
    farm = tmp_path_factory.mktemp("site")
    site = Path(sysconfig.get_path("purelib"))
    for path in site.iterdir():
        if path.name not in ("av", "av.libs") and not path.name.startswith("av-"):
            (farm / path.name).symlink_to(path)
    ours = [line for file in site.glob("*antiphon*.pth") for line in file.read_text().splitlines() if line[:1] == "/"]
    return f"import sys; sys.path += {[str(farm), *ours]!r}\n"


def run(without_pyav: str, script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", without_pyav + script]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_there_is_no_pyav_here(without_pyav: str) -> None:
    assert "No module named 'av'" in run(without_pyav, "import av").stderr


@pytest.mark.skipif(not ctypes.util.find_library("opus"), reason="needs libopus of the system, as the images have it")
def test_the_transceiver_loads_and_codes_with_the_libopus_of_the_system(without_pyav: str) -> None:
    script = """
import antiphon.transceiver.process
from antiphon.rtc.media import opus
from antiphon.rtc.sctp import data_channels
from antiphon.rtc.dtls import certificate
packet = opus.Encoder(48000).encode(bytes(1920))
assert opus.packet_ticks(packet) == 960
assert len(opus.Decoder(48000).decode(packet)) == 1920
assert "libx264" not in open("/proc/self/maps").read() and "libavcodec" not in open("/proc/self/maps").read()
print("well")
"""
    done = run(without_pyav, script)
    assert done.stdout == "well\n", done.stderr


def test_the_bridge_loads_its_recogniser(without_pyav: str) -> None:
    script = """
import antiphon.inference_bridge.stt.transcriber, antiphon.inference_bridge.models.smart_turn
from faster_whisper import decode_audio
try:
    decode_audio("speech.wav")
except ImportError as error:
    print(error)
"""
    done = run(without_pyav, script)
    assert "is of PyAV, which is not installed" in done.stdout, done.stderr


def test_an_installed_pyav_stays_what_it_is() -> None:
    script = "import antiphon.rtc, av; assert av.__file__ and av.AudioFrame.__module__.startswith('av.')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=50)
