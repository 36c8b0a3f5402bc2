"""The owner's side of a call towards its agent: a transceiver's, and signaling's for calls over WebSocket.

The owner claims an agent, receives its speech and requests on the session's subjects, transfers the session, and ends
it when the agent is gone. Imports `antiphon.schemas`, `antiphon.runtime` and `antiphon.runtime.nats`.
"""
