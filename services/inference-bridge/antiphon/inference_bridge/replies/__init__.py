"""One turn's answer over NATS: `ReplyRequest` out, `ReplyPart`s in. The one wire of text agents and language models.

`requests` and `parts` translate between the wire and the values of `agents`, `reader` judges what comes (pure),
`stream` asks one instance, `attempts` asks another one where that is of use.
"""
