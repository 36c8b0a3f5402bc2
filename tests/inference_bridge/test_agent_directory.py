"""Which agents a bridge serves: of several sources, beside plug-ins of their names, as text agents announce them."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.agents.scripted import SilentAgent
from antiphon.inference_bridge.dispatch import agent_directory
from antiphon.inference_bridge.dispatch.agent_directory import AgentDirectory, Changes, NamedSource
from antiphon.inference_bridge.dispatch.agent_wishes import wishes_of
from antiphon.inference_bridge.dispatch.announced_agents import BURST, MAX_AGENTS, MAX_INSTANCES, AnnouncedAgents
from antiphon.inference_bridge.dispatch.plug_in_names import GONE_SECONDS, MAX_NAMES, PlugInNames
from antiphon.inference_bridge.dispatch.register_entry import RegisterEntries
from antiphon.inference_bridge.realtime_protocol.session_settings import ServerVad
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.runtime.nats.service_discovery import TROUBLE
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import AgentBeat
from antiphon.schemas.messages.replies import ANNOUNCE_TTL, TextAgentAnnouncement

pytestmark = pytest.mark.pure


def profile(name: str, **of: Any) -> AgentProfile:
    return AgentProfile(name, lambda _: SilentAgent(), **of)


class Source:
    def __init__(self, *names: str) -> None:
        self.found = {name: profile(name) for name in names}

    def profiles(self) -> dict[str, AgentProfile]:
        return dict(self.found)


def directory(own: Source, files: Source, texts: Source) -> AgentDirectory:
    titles = ("settings", "files", "text agents")
    return AgentDirectory([NamedSource(*each) for each in zip(titles, (own, files, texts), strict=True)])


# ---- joined ------------------------------------------------------------------------------------------------


def test_the_first_source_that_has_a_name_wins_and_the_others_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    own, files, texts = Source("a"), Source("a", "b"), Source("b", "c")
    joined = directory(own, files, texts)
    changes = joined.look({})
    assert set(changes.appeared) == {"a", "b", "c"}
    assert joined.agents["a"] is own.found["a"]
    assert joined.agents["b"] is files.found["b"]
    joined.look({})
    assert [record.getMessage() for record in caplog.records] == [
        "files: a is not served, that name is one of the settings",
        "text agents: b is not served, that name is one of the files",
    ]


def test_what_appears_and_vanishes_is_told_and_a_name_goes_to_the_next_source() -> None:
    own, files, texts = Source("a"), Source("b"), Source("b")
    joined = directory(own, files, texts)
    joined.look({})
    del files.found["b"]
    assert joined.look({}) == Changes((), ()), "the text agent has the name now"
    assert joined.agents["b"] is texts.found["b"]
    del texts.found["b"]
    assert joined.look({}) == Changes((), ("b",))
    texts.found["c"] = profile("c")
    assert joined.look({}) == Changes(("c",), ())


def test_a_plug_in_keeps_its_name_but_for_that_of_the_settings() -> None:
    joined = directory(Source("a"), Source(), Source("b"))
    joined.look({"a": "echo-1", "b": "echo-2"})
    assert set(joined.agents) == {"a"}
    assert joined.look({"a": "echo-1"}).appeared == ("b",)


def test_above_the_bound_the_later_ones_are_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_directory, "MAX_AGENTS", 3)
    joined = directory(Source("a"), Source("b"), Source("c", "d", "e"))
    joined.look({})
    assert set(joined.agents) == {"a", "b", "c"}


# ---- plug-ins ----------------------------------------------------------------------------------------------


def test_a_name_is_a_plug_ins_while_it_beats_and_no_bridges() -> None:
    names = PlugInNames()
    names.received("echo", AgentBeat(instance="echo-1"), 0.0)
    names.received("desk", AgentBeat(instance="bridge-1", bridge=True), 0.0)
    assert names.names(GONE_SECONDS) == {"echo": "echo-1"}
    assert names.names(GONE_SECONDS + 0.1) == {}


def test_a_plug_in_that_leaves_frees_its_name_unless_another_instance_beats() -> None:
    names = PlugInNames()
    names.received("echo", AgentBeat(instance="echo-1"), 0.0)
    names.received("echo", AgentBeat(instance="echo-2", leaving=True), 0.1)
    assert names.names(0.2) == {"echo": "echo-1"}
    names.received("echo", AgentBeat(instance="echo-1", leaving=True), 0.3)
    assert names.names(0.4) == {}


def test_the_names_of_plug_ins_are_bounded() -> None:
    names = PlugInNames()
    for number in range(MAX_NAMES + 10):
        names.received(f"n{number}", AgentBeat(instance="x"), 0.0)
    assert len(names.names(0.0)) == MAX_NAMES


# ---- announcements -----------------------------------------------------------------------------------------


def announce(agents: AnnouncedAgents, agent: str, instance: str = "one", now: float = 0.0, **says: Any) -> bool:
    said = TextAgentAnnouncement(agent=agent, instance=instance, **says)
    return agents.received(subjects.agent_announce(agent), messages.encode(said), now)


def test_a_text_agent_is_there_until_it_leaves_or_is_silent() -> None:
    agents = AnnouncedAgents()
    assert announce(agents, "desk", greeting="Hello.")
    assert not announce(agents, "desk", greeting="Hello.", now=1.0), "nothing new"
    assert agents.present(1.0 + ANNOUNCE_TTL)["desk"].greeting == "Hello."
    assert not agents.present(1.1 + ANNOUNCE_TTL)
    announce(agents, "desk", now=10.0)
    announce(agents, "desk", "two", now=10.0)
    announce(agents, "desk", leaving=True, now=10.1)
    assert agents.present(10.2)["desk"].instance == "two"
    assert announce(agents, "desk", "two", leaving=True, now=10.3)
    assert not agents.present(10.4)


def test_the_newest_instance_says_what_the_agent_is() -> None:
    agents = AnnouncedAgents()
    announce(agents, "desk", "old", greeting="Hello.")
    assert announce(agents, "desk", "new", greeting="Good morning.")
    assert not announce(agents, "desk", "old", greeting="Hello.", now=0.5)
    assert agents.present(0.6)["desk"].greeting == "Good morning."
    announce(agents, "desk", "new", leaving=True, now=0.7)
    assert agents.present(0.8)["desk"].greeting == "Hello."


def test_an_agent_is_busy_when_all_its_instances_are() -> None:
    agents = AnnouncedAgents()
    announce(agents, "desk", "one", capacity=2, answering=2)
    assert agents.busy("desk") == "the text agent desk gives as many answers as it can (2)"
    announce(agents, "desk", "two", capacity=2, answering=1)
    assert not agents.busy("desk")
    assert agents.busy("nobody")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 100, b"[" * 100_000, b"x" * 70_000, b'{"version": 2}'])
def test_rubbish_is_no_agent(data: bytes) -> None:
    agents = AnnouncedAgents()
    assert not agents.received(subjects.agent_announce("desk"), data, 0.0)
    assert not agents.present(0.0)


def test_an_agent_announces_under_its_own_name_only() -> None:
    agents = AnnouncedAgents()
    said = messages.encode(TextAgentAnnouncement(agent="desk", instance="x"))
    assert not agents.received(subjects.agent_announce("mallory"), said, 0.0)
    assert not agents.received("antiphon.v1.agent.a.b.announce", said, 0.0)
    assert not agents.present(0.0)


def test_a_flood_of_names_or_instances_costs_those_that_are_there_nothing() -> None:
    agents = AnnouncedAgents()
    announce(agents, "desk")
    for number in range(1000):
        announce(agents, f"agent-{number}")
    present = agents.present(0.0)
    assert len(present) == MAX_AGENTS
    assert "desk" in present
    crowd = AnnouncedAgents()
    for number in range(MAX_INSTANCES + 50):
        announce(crowd, "desk", f"i{number}", now=float(number) / 100, capacity=1)
    assert f"({MAX_INSTANCES})" not in crowd.busy("desk")
    assert crowd.present(1.0)["desk"].instance == f"i{MAX_INSTANCES - 1}"


def test_an_agent_that_announces_without_end_is_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    agents, read = AnnouncedAgents(), 0
    decode = messages.decode

    def counted(data: bytes, model: Any) -> Any:
        nonlocal read
        read += 1
        return decode(data, model)

    monkeypatch.setattr(messages, "decode", counted)
    for _ in range(5000):
        announce(agents, "mallory")
        agents.received(subjects.agent_announce("mallory"), b"rubbish", 0.0)
    assert read == BURST
    assert announce(agents, "desk"), "another one's budget is its own"


# ---- wishes ------------------------------------------------------------------------------------------------


def test_what_an_agent_wants_is_in_force_where_the_models_can_do_it() -> None:
    support = SpeechSupport(
        transcribes=frozenset({"en", "de"}), voices={"joe": frozenset({"en"}), "martha": frozenset({"de"})}
    )
    detection = {"type": "server_vad", "silence_duration_ms": 700}
    settings, refused = wishes_of(profile("a", language="de-AT", voice="martha", turn_detection=detection), support)
    assert not refused
    assert (settings.language, settings.voice) == ("de", "martha")
    assert isinstance(settings.turn_detection, ServerVad)
    assert settings.turn_detection.silence_duration_ms == 700


def test_a_wish_that_cant_be_had_is_told_and_the_others_are_in_force() -> None:
    detection = {"type": "server_vad", "silence_duration_ms": 700, "threshold": "loud"}
    wanted = profile("a", language="fr", voice="nobody", turn_detection=detection)
    settings, refused = wishes_of(wanted, SpeechSupport())
    assert (settings.language, settings.voice) == ("", "")
    assert isinstance(settings.turn_detection, ServerVad)
    assert settings.turn_detection.silence_duration_ms == 700
    assert len(refused) == 3
    assert any("fr" in each for each in refused)


# ---- the register ------------------------------------------------------------------------------------------


def test_each_agent_has_its_own_troubles_in_the_register_besides_those_of_the_process() -> None:
    entries = RegisterEntries("concierge", "bridge-1", {"region": "here"})
    concierge = entries.add("concierge")
    entries.chat_server("it answers with status 503")
    entries.speech_service("it is away")
    desk = entries.add("desk")
    assert desk.metadata["agent"] == "desk"
    assert desk.metadata["region"] == "here"
    assert "ANTIPHON_LLM_URL" not in desk.metadata[TROUBLE]
    assert "it is away" in desk.metadata[TROUBLE]
    assert "status 503" in concierge.metadata[TROUBLE]
    entries.speech_service(None)
    entries.agent_files({"desk": "its file has a mistake", "": "the folder is gone"})
    assert desk.metadata[TROUBLE] == "its file has a mistake"
    assert "mistake" not in concierge.metadata[TROUBLE]
    entries.agent_files({})
    assert TROUBLE not in desk.metadata
