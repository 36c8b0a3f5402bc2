"""Calls over WebSocket: signaling is the owner of such a call, as a transceiver is of one over WebRTC.

`call` is the core (sans-IO), with `input_audio`, `output_audio` and `response_places`; `service` stands on NATS with a
role of its own; `connection` is one WebSocket. Imports `auth`, `http.errors`, `placement` and `settings`.
"""
