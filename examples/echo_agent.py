"""An agent in plain nats-py: says back what it hears, half a second later, while the caller still talks."""

import asyncio
import json
import os

import msgpack
import nats
from nats.micro import add_service


async def main() -> None:
    bus = await nats.connect(os.environ.get("ANTIPHON_NATS_URL", "nats://127.0.0.1:4222"))

    async def claim(request) -> None:
        session = f"antiphon.v1.session.{json.loads(request.data)['session_id']}"

        async def on_audio(message) -> None:
            version, sequence, first_sample, captured_ns, rate, _, _, pcm = msgpack.unpackb(message.data)
            frame = msgpack.packb([version, sequence, first_sample, captured_ns, rate, 0, 0, pcm])
            asyncio.get_running_loop().call_later(
                0.5, asyncio.ensure_future, bus.publish(f"{session}.audio.out", frame)
            )

        async def on_event(message) -> None:
            if json.loads(message.data)["type"] == "ended":
                await audio.unsubscribe()
                await events.unsubscribe()

        audio = await bus.subscribe(f"{session}.audio.in", cb=on_audio)
        events = await bus.subscribe(f"{session}.event", cb=on_event)
        await bus.flush()  # subscribed before the call is accepted: nothing of it is missed
        await request.respond(json.dumps({"version": 1, "accepted": True, "input_rate": 24000}).encode())

    service = await add_service(bus, name="antiphon-agent", version="0.1.0", metadata={"agent": "echo"})
    await service.add_endpoint(name="claim", subject="antiphon.v1.agent.echo.claim", handler=claim, queue_group="echo")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
