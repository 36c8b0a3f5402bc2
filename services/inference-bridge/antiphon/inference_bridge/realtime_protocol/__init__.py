"""The OpenAI realtime protocol of one call: events of clients and to clients, the conversation and its settings.

Pure: no sockets, no tasks, no clock. `client_events` reads, `session_settings` and `conversation` hold, `server_events`
writes. What a client's event does to the call is decided in `antiphon.inference_bridge.conversation.client_commands`.
"""
