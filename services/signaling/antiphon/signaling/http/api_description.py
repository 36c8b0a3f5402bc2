"""The words in which routes describe themselves: schemas, parameters, bodies and answers of OpenAPI 3.1.

A route has its description as `openapi_extra`; `http.openapi` puts them together. So what a route takes and what it
answers stand beside its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

OPEN: Final[Sequence[Json]] = ({},)
"""No key is asked for."""


def ref(kind: str, name: str) -> Json:
    """A reference to one of `components()`."""
    return {"$ref": f"#/components/{kind}/{name}"}


def describe(
    summary: str,
    tag: str,
    *,
    answers: Mapping[int, Json],
    errors: Iterable[int],
    description: str = "",
    body: Json | None = None,
    parameters: Sequence[Json] = (),
    security: Sequence[Json] | None = None,
) -> Json:
    """The operation object of a route. `errors`: statuses that are answered with the error object."""
    responses = {str(status): answer for status, answer in answers.items()}
    responses |= {str(status): ref("responses", f"Error{status}") for status in errors}
    said: Json = {"summary": summary, "tags": [tag], "responses": dict(sorted(responses.items()))}
    if description:
        said["description"] = description
    if body is not None:
        said["requestBody"] = {"required": True, "content": body}
    if parameters:
        said["parameters"] = list(parameters)
    if security is not None:
        said["security"] = list(security)
    return said


def answer(description: str, content: Json | None = None, headers: Iterable[str] = ()) -> Json:
    """One answer. `headers`: names in `components()`."""
    said: Json = {"description": description}
    if content is not None:
        said["content"] = content
    if named := {name: ref("headers", name) for name in headers}:
        said["headers"] = named
    return said


def json_of(schema: str) -> Json:
    """A JSON body of this schema."""
    return {"application/json": {"schema": ref("schemas", schema)}}


# ---- what several routes share

SDP: Final[Json] = {"application/sdp": {"schema": ref("schemas", "Sdp")}}
OFFER_BODY: Final[Json] = SDP | {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["sdp"],
            "properties": {"sdp": ref("schemas", "Sdp"), "session": ref("schemas", "Session")},
        },
        "encoding": {"sdp": {"contentType": "application/sdp"}, "session": {"contentType": "application/json"}},
    }
}
FRAGMENT: Final[Json] = {"application/trickle-ice-sdpfrag": {"schema": ref("schemas", "IceFragment")}}

CALL_ID: Final = ref("parameters", "call_id")
PLACES: Final = tuple(ref("parameters", name) for name in ("region", "place", "race"))
PLACING: Final = (*(ref("parameters", name) for name in ("agent", "model", "copy")), *PLACES)

_REGIONS: Final = ("Antiphon-Region", "Antiphon-Ingress", "Antiphon-Second-Ingress", "Antiphon-Place-Source")
PLACED: Final = answer("The call is placed: the SDP answer.", SDP, ("Location", "ETag", "Accept-Patch", *_REGIONS))
PREPARED: Final = answer(
    "The SDP answer. The call begins when its client uses that.",
    SDP,
    ("Location", "ETag", "Accept-Patch", "Antiphon-Prepared", *_REGIONS),
)
ANSWERED_AGAIN: Final = answer("The SDP answer to the new offer.", SDP, ("ETag", *_REGIONS))
ICE_RESTARTED: Final = answer("ICE has restarted: our new credentials and all candidates.", FRAGMENT, ("ETag",))
CANDIDATES_TAKEN: Final = answer("The candidates are taken note of; ICE goes on as it was.")
DONE: Final = answer("Done.")

AUTH_ERRORS: Final = (401, 403, 429)
PLACING_ERRORS: Final = (400, *AUTH_ERRORS, 404, 408, 413, 415, 502, 503)
CALL_ERRORS: Final = (*AUTH_ERRORS, 404, 503, 504)


def components() -> Json:
    """What the operations refer to."""
    return {
        "securitySchemes": {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, or a client secret (`ek_...`). Asked for where the server has keys.",
            }
        },
        "schemas": _SCHEMAS,
        "parameters": _PARAMETERS,
        "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()},
        "responses": {f"Error{status}": _error(status, text) for status, text in _ERRORS.items()},
    }


def _error(status: int, text: str) -> Json:
    again = ("Retry-After",)
    headers = {307: ("Location",), 401: ("WWW-Authenticate",), 429: again, 503: again}.get(status, ())
    return answer(text, json_of("Error"), headers)


_ERRORS: Final = {
    307: "The call runs in another region, which `Antiphon-Region` names: ask again at `Location`.",
    400: "The request can't be read, or asks for what there is not: `code` and `param` say what.",
    401: "No key, a wrong one, or a client secret that has expired or placed its calls.",
    403: "The key may not do this, or the page or host may not.",
    404: "There is no such agent, call or process (any more).",
    405: "The path does not take this method: `Allow` lists those that it takes.",
    408: "The body did not arrive in time.",
    409: "The process refuses.",
    412: "The call has another ICE session than those of `If-Match`.",
    413: "The body is too long.",
    415: "The body has another Content-Type than those that are taken.",
    421: "The call runs in another region, which `Antiphon-Region` names.",
    422: "The offer can be read and can't be used.",
    428: "`If-Match` is missing: the entity tag of the ICE session, or `*` to restart ICE.",
    429: "Too many requests, calls or failed authentications.",
    502: "The agent ended the call before there was an answer, or the answer can't be passed on.",
    503: "The call or request can't be served now; nothing is wrong with it.",
    504: "The call's transceiver, or the process, does not answer.",
}

_HEADERS: Final = {
    "Location": "The call's own path: PATCH it to restart ICE, DELETE it to hang up.",
    "ETag": "The strong entity tag of the ICE session (RFC 9725 section 4.3.1).",
    "Accept-Patch": "What PATCH of the call's own path takes.",
    "Retry-After": "Seconds after which another try makes sense.",
    "WWW-Authenticate": "Bearer.",
    "Antiphon-Prepared": "Seconds for which the answer is good.",
    "Antiphon-Region": "Where the call's cluster is, if regions have names.",
    "Antiphon-Ingress": "The region of the relay that the answer names first.",
    "Antiphon-Second-Ingress": "That of the relay it names second.",
    "Antiphon-Place-Source": "What said where the client is: `hint`, `header`, `table` or `unknown`.",
}


def _query(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "string"} | schema}


_PARAMETERS: Final[Json] = {
    "call_id": {
        "name": "call_id",
        "in": "path",
        "required": True,
        "description": "The call's name: the last part of `Location`.",
        "schema": {"type": "string", "pattern": "^rtc_[A-Za-z0-9]{1,60}$"},
    },
    "agent": _query("agent", "The agent that takes the call.", pattern="^[A-Za-z0-9_-]{1,64}$"),
    "model": _query("model", "The same, if an agent has this name; else it is not read."),
    "region": _query("region", "Place the call as if its client were in this region."),
    "place": _query("place", "Where the client is: `<latitude>,<longitude>` in degrees."),
    "race": _query("race", "Give both relays the same priority: the client's checks decide.", enum=["true", "false"]),
    "copy": _query("copy", "Keep a copy of the call in a second region, or none.", enum=["true", "false"]),
    "after_entry": {
        "name": "after",
        "in": "query",
        "description": "Only entries with a higher number: `last` of the page before.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "only_agent": _query("agent", "Only calls with this agent.", pattern="^[A-Za-z0-9_-]{0,64}$"),
    "after": _query("after", "`last_id` of the page before.", pattern="^(rtc_[A-Za-z0-9]{1,60})?$"),
    "limit": {
        "name": "limit",
        "in": "query",
        "description": "Calls in one page.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
    },
    "service": {
        "name": "service",
        "in": "path",
        "required": True,
        "description": "Its name in the services register.",
        "schema": {"type": "string", "pattern": "^antiphon-[a-z]{1,32}$"},
    },
    "instance": {
        "name": "instance",
        "in": "path",
        "required": True,
        "description": "The `id` of the process.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    },
    "if_match": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": 'Entity tags of ICE sessions, such as `"Abc"`; `*` restarts whichever there is.',
        "schema": {"type": "string"},
    },
}

_AGENT_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_NULLABLE_TEXT: Final = {"type": ["string", "null"]}
_NULLABLE_NUMBER: Final = {"type": ["number", "null"]}


def _page_of(entry: str) -> Json:
    """A page of a stream."""
    return {
        "type": "object",
        "required": ["object", "data", "last", "more"],
        "properties": {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "description": entry,
                    "required": ["sequence"],
                    "properties": {"sequence": {"type": "integer"}},
                },
            },
            "last": {"type": "integer", "description": "Number of the last entry: the next page comes after it."},
            "more": {"type": "boolean"},
        },
    }


_SCHEMAS: Final[Json] = {
    "AgentName": _AGENT_NAME,
    "Sdp": {
        "type": "string",
        "description": "A session description (RFC 8866) with at least one section of audio.",
        "maxLength": 65536,
        "examples": ["v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n..."],
    },
    "IceFragment": {
        "type": "string",
        "description": "An SDP fragment of Trickle ICE (RFC 8840 section 9) with `a=ice-ufrag` and `a=ice-pwd`.",
        "examples": ["a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"],
    },
    "Session": {
        "type": "object",
        "description": "Session settings of the realtime protocol. They go to the agent, which answers for them.",
        "properties": {"agent": {"type": "string"}, "model": {"type": "string"}, "instructions": {"type": "string"}},
        "additionalProperties": True,
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "code", "param"],
                "properties": {
                    "message": {"type": "string", "description": "Names the thing, the value and the way out."},
                    "type": {"type": "string"},
                    "code": {"type": "string", "description": "For programs."},
                    "param": _NULLABLE_TEXT,
                },
            }
        },
    },
    "CallStatus": {
        "type": "object",
        "required": ["id", "object", "status", "message"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "realtime.call"},
            "status": {"enum": ["running", "ended", "unknown"]},
            "connected": {"type": "boolean", "description": "The client's packets arrived."},
            "reason": _NULLABLE_TEXT,
            "cause": {"type": "string"},
            "fault": {"type": "boolean", "description": "It ended in another way than conversations do."},
            "message": {"type": "string"},
        },
    },
    "Agents": {
        "type": "object",
        "required": ["agents", "default"],
        "properties": {"agents": {"type": "array", "items": {"type": "string"}}, "default": {"type": "string"}},
    },
    "ClientSecretRequest": {
        "type": "object",
        "properties": {
            "session": ref("schemas", "Session"),
            "expires_after": {
                "type": "object",
                "required": ["seconds"],
                "properties": {
                    "anchor": {"const": "created_at"},
                    "seconds": {"type": "integer", "minimum": 10, "maximum": 7200},
                },
            },
            "max_calls": {"type": "integer", "minimum": 1, "maximum": 1000},
            "origin": {"type": "string", "description": "The only page that may use it: `https://shop.example`."},
        },
    },
    "ClientSecret": {
        "type": "object",
        "required": ["value", "expires_at", "session"],
        "properties": {
            "value": {"type": "string", "pattern": "^ek_"},
            "expires_at": {"type": "integer", "description": "Unix time in seconds."},
            "session": ref("schemas", "Session"),
        },
    },
    "WebRtcTransport": {
        "type": "object",
        "required": ["type", "sdp"],
        "properties": {"type": {"const": "webrtc"}, "sdp": ref("schemas", "Sdp")},
    },
    "LiveSessionRequest": {
        "type": "object",
        "required": ["transport"],
        "properties": {"session": ref("schemas", "Session"), "transport": ref("schemas", "WebRtcTransport")},
    },
    "LiveSession": {
        "type": "object",
        "required": ["session", "transport"],
        "properties": {
            "session": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
            "transport": ref("schemas", "WebRtcTransport"),
        },
    },
    "OperatorSessionRequest": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}},
    "OperatorSession": {
        "type": "object",
        "required": ["object", "key", "name", "expires_at"],
        "properties": {
            "object": {"const": "operator.session"},
            "key": _NULLABLE_TEXT | {"description": "Id of the API key; null where no keys are set."},
            "name": {"type": "string"},
            "expires_at": {"type": ["integer", "null"], "description": "Unix time in seconds."},
        },
    },
    "Timeline": _page_of("A TimelineEntry (`antiphon schema export`): `type` is event, turn, statistics or words."),
    "EndedCalls": _page_of("A CallEnded (`antiphon schema export`): the call at its end, when, and why."),
    "Regions": {
        "type": "object",
        "required": ["object", "data", "placement"],
        "properties": {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "latitude", "longitude", "clusters", "ingress"],
                    "properties": {
                        "name": {"type": "string"},
                        "latitude": {"type": ["number", "null"]},
                        "longitude": {"type": ["number", "null"]},
                        "clusters": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["cluster", "room"],
                                "properties": {"cluster": {"type": "integer"}, "room": {"type": "boolean"}},
                            },
                        },
                        "ingress": {"type": "boolean"},
                    },
                },
            },
            "placement": {
                "type": "object",
                "required": ["region", "ingress", "source"],
                "properties": {"region": _NULLABLE_TEXT, "ingress": _NULLABLE_TEXT, "source": {"type": "string"}},
            },
        },
    },
    "OperatorCall": {
        "type": "object",
        "description": "A call at this moment. `last_turn.parts` is in milliseconds, in order.",
        "required": ["session_id", "agent", "kind", "state", "began", "trace_id"],
        "properties": {
            "session_id": {"type": "string"},
            "agent": {"type": "string"},
            "instance": {"type": "string", "description": "Of the agent."},
            "kind": {"enum": ["webrtc", "websocket"]},
            "state": {"enum": ["connecting", "running", "suspect", "ended"]},
            "began": {"type": "number", "description": "Unix time."},
            "region": {"type": "string"},
            "cluster": {"type": "integer"},
            "slot": {"type": "integer"},
            "owner": {"type": "string", "description": "Id of the process that has it, in the services register."},
            "relay": {"type": "string"},
            "path": {"enum": ["", "udp", "tcp", "backbone"]},
            "round_trip_ms": _NULLABLE_NUMBER,
            "packets_lost": {"type": "integer"},
            "packets_received": {"type": "integer"},
            "remote_packets_lost": {"type": ["integer", "null"]},
            "jitter_ms": {"type": "number"},
            "frames_concealed": {"type": "integer"},
            "lateness_ms": {"type": "number"},
            "turns": {"type": "integer"},
            "last_turn": {"type": ["object", "null"], "additionalProperties": True},
            "moves": {"type": "integer"},
            "trace_id": {"type": "string", "description": "Empty: it is not traced."},
            "client": {"type": ["object", "null"], "additionalProperties": True},
        },
    },
    "OperatorCalls": {
        "type": "object",
        "required": ["object", "data", "has_more", "last_id", "total", "incomplete", "regions"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": ref("schemas", "OperatorCall")},
            "has_more": {"type": "boolean"},
            "last_id": _NULLABLE_TEXT,
            "total": {"type": "integer", "description": "Calls from this page on."},
            "incomplete": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Owners that did not answer within a second: their calls are missing.",
            },
            "regions": {"type": "array", "items": {"type": "string"}, "description": "Of the owners that answered."},
        },
    },
    "OperatorProcesses": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["service", "id", "version"],
                    "properties": {
                        **{
                            name: {"type": "string"}
                            for name in ("service", "id", "version", "name", "host", "pid", "region", "trouble")
                        },
                        "state": {"enum": ["ready", "draining", ""]},
                        "taken": {"type": ["integer", "null"], "description": "Calls that it has."},
                        "capacity": {"type": ["integer", "null"]},
                        "lateness_ms": _NULLABLE_NUMBER,
                        "metrics": {"type": "string", "description": "Address of its `/metrics`."},
                    },
                },
            },
        },
    },
    "OperatorTransfer": {
        "type": "object",
        "properties": {
            "agent": {"type": "string", "description": "The agent that shall have the call."},
            "summary": {"type": "string", "maxLength": 4000, "description": "For that agent."},
            "refusal": {
                "type": "string",
                "maxLength": 500,
                "description": "In place of an agent: why nobody takes it.",
            },
        },
    },
    "OperatorDone": {
        "type": "object",
        "required": ["id", "state"],
        "properties": {
            "id": {"type": "string"},
            "state": {"enum": ["ended", "draining", "transferred", "refused"]},
            "message": {"type": "string"},
        },
    },
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["ok", "failing"]},
            "failing": {"type": "object", "additionalProperties": {"type": "string"}},
            "troubles": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
}
