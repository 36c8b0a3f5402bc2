"""A conversation with a function call through a real llama.cpp server. `make llm-test` fetches it and a small model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.processes.bridge import agent_is_there, running_bridge
from support.processes.ended import ended
from support.processes.nats import nats_server

from antiphon.runtime.nats import connection
from antiphon.testing.fake_transceiver import FakeTransceiver

pytestmark = [
    pytest.mark.process(timeout=600, reason="a language model on two cores"),
    pytest.mark.models,
]

FOLDER = Path(os.environ.get("ANTIPHON_LLM_TEST", ".llm-test"))
if not (FOLDER / "xllamacpp").exists():
    pytest.skip("no llama.cpp is installed: make llm-test", allow_module_level=True)

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The current weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def llama_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llm.llama_server", str(FOLDER), str(port)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with ended(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)):
        yield f"http://127.0.0.1:{port}/v1"


def typed(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


async def test_a_function_is_called_and_its_output_is_in_the_answer(tmp_path: Path, llama_url: str) -> None:
    """The bridge is started while the server still loads its model; the model writes its call into the text."""
    settings = {
        "greeting": "none",
        "llm_url": llama_url,
        "llm_model": "qwen",
        "llm_timeout": "60",
        "llm_load_timeout": "300",
    }
    with nats_server(tmp_path) as nats_url, running_bridge(nats_url, **settings):
        client = await connection.connect(nats_url, "test")
        try:
            await agent_is_there(client, "concierge")
            async with FakeTransceiver(client, "concierge") as call:
                await call.wait_for("session.created")
                instructions = "You are a voice assistant. Answer in one short sentence."
                session = {"type": "realtime", "instructions": instructions, "tools": [WEATHER]}
                await call.send({"type": "session.update", "session": session})
                await call.send(typed("What is the weather in Paris?"))
                await call.send({"type": "response.create"})
                asked = await call.wait_for("response.function_call_arguments.done", timeout=240)
                assert "Paris" in json.loads(asked["arguments"])["city"]
                first = await call.wait_for("response.done", timeout=60)
                assert [item["type"] for item in first["response"]["output"]] == ["function_call"], "nothing was spoken"
                output = {
                    "type": "function_call_output",
                    "call_id": asked["call_id"],
                    "output": "It is sunny in Paris, 21 degrees.",
                }
                await call.send({"type": "conversation.item.create", "item": output})
                await call.send(
                    typed("So what is it like there? Tell me in words.")
                )  # else this model only calls again
                wanted = {"tool_choice": "none", "max_output_tokens": 30}
                await call.send({"type": "response.create", "response": wanted})
                second = await call.wait_for("response.done", 2, timeout=240)
                (item,) = second["response"]["output"]
                transcript = item["content"][0]["transcript"]
                print(f"the answer: {transcript}")
                assert "sun" in transcript.lower() or "21" in transcript
                assert "{" not in transcript
        finally:
            await client.close()
