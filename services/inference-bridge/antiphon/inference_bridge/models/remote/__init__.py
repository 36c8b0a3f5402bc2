"""Models as workers on NATS: speech to text and speech in processes of their own, on this machine or another one.

`wire` defines the messages, `worker` is the process that has the model, `pool` the bridge's side.
"""
