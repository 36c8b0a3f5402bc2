"""An agent without the SDK, in plain nats-py: says back what it hears, and stops when a key is pressed."""

import asyncio
import json
import os

import msgpack
import nats
from nats.aio.msg import Msg
from nats.micro import add_service
from nats.micro.request import Request

PREFIX, NAME, WHO, END_OF_UTTERANCE = "antiphon.v1", "plain", {"agent": "plain", "instance": f"plain-{os.getpid()}"}, 4
URL, SEED = os.environ.get("ANTIPHON_NATS_URL", "nats://127.0.0.1:4222"), os.environ.get("ANTIPHON_NATS_CREDENTIALS")


async def main() -> None:
    bus = await nats.connect(URL, nkeys_seed=SEED, inbox_prefix=f"_INBOX_agent.{NAME}")

    async def claim(request: Request) -> None:
        asked = json.loads(request.data)
        if asked["version"] != 2:  # the session of another version has other subjects
            await request.respond(b'{"version":1,"accepted":false,"message":"claims have version 2 here"}')
            return
        session = f"{PREFIX}.session.{NAME}.{asked['session_id']}"
        generation = 1

        async def on_audio(message: Msg) -> None:
            version, sequence, first_sample, captured_ns, rate, flags, _, pcm = msgpack.unpackb(message.data)
            frame = [version, sequence, first_sample, captured_ns, rate, flags & ~END_OF_UTTERANCE, generation, pcm]
            await bus.publish(f"{session}.audio.out", msgpack.packb(frame))

        async def on_event(message: Msg) -> None:
            nonlocal generation
            event = json.loads(message.data)
            if event["type"] == "telephone_event":
                generation += 1  # what is under way in the old generation will not be heard
                flush = json.dumps({"version": 1, "type": "flush", "generation": generation}).encode()
                answer = await bus.request(f"{session}.control", flush, timeout=1)
                print("flush", json.loads(answer.data)["ok"])
            elif event["type"] == "flushed":
                print(f"heard {event['played_samples'] / event['rate']:.2f} s")
            elif event["type"] in ("ended", "transferred"):
                await audio.unsubscribe()
                await events.unsubscribe()

        audio = await bus.subscribe(f"{session}.audio.in", cb=on_audio)
        events = await bus.subscribe(f"{session}.event", cb=on_event)
        await bus.flush()  # subscribed before the call is accepted: nothing of it is missed
        reply = {"version": 1, "accepted": True, "input_rate": 24000, "instance": WHO["instance"]}
        await request.respond(json.dumps(reply).encode())

    service = await add_service(bus, name="antiphon-agent", version="0.1.0", metadata=WHO)
    await service.add_endpoint(name="claim", subject=f"{PREFIX}.agent.{NAME}.claim", handler=claim, queue_group=NAME)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
