"""Says back every message of a data channel, on the same channel."""

from antiphon.agent import Agent, DataReceived, Session

agent = Agent("data-echo")


@agent.session
async def echo(session: Session) -> None:
    async for event in session.events():
        if isinstance(event, DataReceived):
            await session.send(event.payload, channel=event.channel)


if __name__ == "__main__":
    agent.run()
