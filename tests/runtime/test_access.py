"""The credential file of a process: read, or refused with a line that names variable, file and way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon.runtime.nats import nkeys
from antiphon.runtime.nats.access import Access, AccessError, from_environment, read_credential

pytestmark = pytest.mark.pure

CREDS = """-----BEGIN NATS USER JWT-----
eyJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def _file(folder: Path, text: str | bytes, mode: int = 0o400) -> Path:
    path = folder / "nkey"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_a_seed_and_a_creds_file_are_read(tmp_path: Path) -> None:
    seed = nkeys.new_seed()
    (tmp_path / "creds").mkdir()
    assert read_credential(_file(tmp_path, f"{seed}\n")) == (seed, "")
    found = read_credential(_file(tmp_path / "creds", CREDS.format(seed=seed), 0o600))
    assert found.seed == seed
    assert found.jwt.count(".") == 2
    assert seed not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n \n",
        b"hello",
        b"\xff\xfe\x00",
        b"SU" + b"A" * 56,
        CREDS.format(seed="").encode(),
        CREDS.format(seed="x")[:200].encode(),
        b"S" * 100_000,
    ],
)
def test_what_holds_no_credential_is_named_with_the_way_out(tmp_path: Path, text: bytes) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(AccessError, match=f"ANTIPHON_NATS_CREDENTIALS {path}"):
        read_credential(path)


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o420, 0o777])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = _file(tmp_path, nkeys.new_seed(), mode)
    with pytest.raises(AccessError, match=f"mode {mode:04o}.*chmod 0400 {path}"):
        read_credential(path)


def test_a_file_that_is_none_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o400)
    for path, what in ((tmp_path / "none", "No such file"), (tmp_path, "no file"), (tmp_path / "fifo", "no file")):
        with pytest.raises(AccessError, match=what):
            read_credential(path)


def test_an_empty_variable_is_none_and_files_of_tls_are_checked(tmp_path: Path) -> None:
    assert from_environment("relay", environment={"ANTIPHON_NATS_CREDENTIALS": ""}) == Access("relay")
    ca = _file(tmp_path, "no certificate")
    with pytest.raises(AccessError, match=f"ANTIPHON_NATS_TLS_CA {ca} can't be used: it holds no certificate"):
        from_environment("relay", environment={"ANTIPHON_NATS_TLS_CA": str(ca)})
    with pytest.raises(AccessError, match="go together"):
        from_environment("relay", environment={"ANTIPHON_NATS_TLS_CERT": str(ca)})
    with pytest.raises(AccessError, match=r"ANTIPHON_NATS_TLS_CA .*nowhere can't be used: No such file"):
        from_environment("relay", environment={"ANTIPHON_NATS_TLS_CA": str(tmp_path / "nowhere")})


def test_each_role_and_each_agent_has_an_inbox_of_its_own() -> None:
    prefixes = [Access(role, name).inbox_prefix for role, name in (("relay", ""), ("agent", "a"), ("agent", "b"))]
    assert prefixes == ["_INBOX_relay", "_INBOX_agent.a", "_INBOX_agent.b"]
    assert Access().inbox_prefix == "_INBOX"
