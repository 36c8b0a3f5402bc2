"""`/v1/operator`: the calls that run and the processes of this region, for API keys with the scope `operator`.

A client secret is for a browser and gets nothing here. Where no keys are set, every caller may ask, as for the rest of
the API.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from antiphon.runtime.api_keys import Scope
from antiphon.runtime.operators.processes import SERVICES
from antiphon.schemas.messages import ANY_CREATOR, MAX_LISTED, ListCalls, TransferCall
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.http.api_description import AUTH_ERRORS, CALL_ERRORS, CALL_ID, answer, describe, json_of, ref
from antiphon.signaling.http.dependencies import BackendDep, CallerDep
from antiphon.signaling.http.errors import ApiError
from antiphon.signaling.http.request_body import read_json
from antiphon.signaling.operators.listing import drain_process, list_calls, list_processes, one_call
from antiphon.signaling.placement.call_status import OPERATOR
from antiphon.signaling.placement.placement import hang_up, transfer
from antiphon.signaling.protocols.openai_calls import SessionIdDep

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/operator")

DEFAULT_LIMIT: Final = 100
_INSTANCE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FRESH: Final = {"Cache-Control": "no-store"}


def check_operator(caller: Caller, *further: Scope) -> None:
    """`ApiError` 403 unless it has an API key with the scope `operator` or one of `further`."""
    if not caller.server:
        text = "a client secret may not do this: an API key with the scope operator may"
        raise ApiError(403, "missing_scope", text)
    caller.need("operator", *further)


async def operator_of(caller: CallerDep) -> Caller:
    """The caller, who is an operator."""
    check_operator(caller)
    return caller


async def ender_of(caller: CallerDep) -> Caller:
    """The caller, who may end every call."""
    check_operator(caller, "calls.manage")
    return caller


OperatorDep = Annotated[Caller, Depends(operator_of)]
EnderDep = Annotated[Caller, Depends(ender_of)]


@router.get(
    "/calls",
    openapi_extra=describe(
        "The calls that run",
        "Operators",
        answers={200: answer("One page, in the order of their ids.", json_of("OperatorCalls"))},
        errors=(*AUTH_ERRORS, 422, 503),
        parameters=[ref("parameters", name) for name in ("only_agent", "after", "limit")],
        description="Of this region: calls stay in theirs. `incomplete` names owners of calls that did not answer.",
    ),
)
async def calls(
    caller: OperatorDep,
    backend: BackendDep,
    agent: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = "",
    after: Annotated[str, Query(pattern=r"^(rtc_[A-Za-z0-9]{1,60})?$")] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = DEFAULT_LIMIT,
) -> JSONResponse:
    """One page of the calls that run."""
    page = await list_calls(backend, ListCalls(agent=agent, after=after, limit=limit))
    body = {
        "object": "list",
        "data": [call.model_dump(mode="json") for call in page.calls],
        "has_more": page.more,
        "last_id": page.calls[-1].session_id if page.calls else None,
        "total": page.total,
        "incomplete": page.incomplete,
        "regions": page.regions,
    }
    return JSONResponse(body, headers=_FRESH)


@router.get(
    "/calls/{call_id}",
    openapi_extra=describe(
        "One call",
        "Operators",
        answers={200: answer("The call.", json_of("OperatorCall"))},
        errors=CALL_ERRORS,
        parameters=[CALL_ID],
    ),
)
async def call(caller: OperatorDep, session_id: SessionIdDep, backend: BackendDep) -> JSONResponse:
    """One call that runs."""
    return JSONResponse((await one_call(backend, session_id)).model_dump(mode="json"), headers=_FRESH)


@router.post(
    "/calls/{call_id}/hang_up",
    openapi_extra=describe(
        "End any call",
        "Operators",
        answers={200: answer("It has ended, or ends when its client has been told.", json_of("OperatorDone"))},
        errors=CALL_ERRORS,
        parameters=[CALL_ID],
        description="By keys with the scope `operator` or `calls.manage`.",
    ),
)
async def hang_up_call(caller: EnderDep, session_id: SessionIdDep, backend: BackendDep) -> JSONResponse:
    """End a call, whoever made it."""
    await hang_up(backend, session_id, OPERATOR, ANY_CREATOR)
    log.info("call %s hung up by an operator", session_id, extra={"session": session_id})
    return JSONResponse({"id": session_id, "state": "ended"}, headers=_FRESH)


@router.post(
    "/calls/{call_id}/transfer",
    openapi_extra=describe(
        "Give a call to another agent",
        "Operators",
        answers={200: answer("The agent has the call, or its agent was told.", json_of("OperatorDone"))},
        errors=(*CALL_ERRORS, 400, 409, 413, 415),
        parameters=[CALL_ID],
        body=json_of("OperatorTransfer"),
        description=(
            "By keys with the scope `operator` or `calls.manage`. The answer to the webhook `call.person_asked`: name "
            "the agent that connects a person, or say by `refusal` why nobody takes the call."
        ),
    ),
)
async def transfer_call(
    request: Request, caller: EnderDep, session_id: SessionIdDep, backend: BackendDep
) -> JSONResponse:
    """Give a call to another agent, or tell its agent that no person takes it."""
    wanted = transfer_of(await read_json(request))
    message = await transfer(backend, session_id, wanted)
    state = "transferred" if wanted.agent else "refused"
    log.info("call %s: %s", session_id, message, extra={"session": session_id})
    return JSONResponse({"id": session_id, "state": state, "message": message}, headers=_FRESH)


def transfer_of(body: Mapping[str, Any]) -> TransferCall:
    """What the body asks for; `ApiError` 400."""
    if bool(body.get("agent")) == bool(body.get("refusal")):
        text = 'name the agent that shall have the call, {"agent": "desk"}, or say why not, {"refusal": "closed"}'
        raise ApiError(400, "invalid_value", text, param="agent")
    try:
        asked = {name: body[name] for name in ("agent", "refusal", "summary") if body.get(name) is not None}
        return TransferCall(**asked, creator=ANY_CREATOR)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise ApiError(400, "invalid_value", f"{name}: {first['msg']}", param=name) from None


@router.get(
    "/processes",
    openapi_extra=describe(
        "The processes of this region",
        "Operators",
        answers={200: answer("All that answer in the services register.", json_of("OperatorProcesses"))},
        errors=(*AUTH_ERRORS, 503),
    ),
)
async def processes(caller: OperatorDep, backend: BackendDep) -> JSONResponse:
    """The processes that answer in the services register."""
    rows: list[dict[str, Any]] = [asdict(each) for each in await list_processes(backend)]
    return JSONResponse({"object": "list", "data": rows}, headers=_FRESH)


@router.post(
    "/processes/{service}/{instance}/drain",
    openapi_extra=describe(
        "Have a process end as on SIGTERM",
        "Operators",
        answers={202: answer("It drains: it hands its calls over and ends.", json_of("OperatorDone"))},
        errors=(*AUTH_ERRORS, 404, 409, 503, 504),
        parameters=[ref("parameters", "service"), ref("parameters", "instance")],
    ),
)
async def drain(caller: OperatorDep, service: str, instance: str, backend: BackendDep) -> JSONResponse:
    """Have a process hand its calls over and end."""
    if service not in SERVICES or not _INSTANCE.fullmatch(instance):
        text = f"there is no process {service!r:.80} {instance!r:.80}: GET /v1/operator/processes lists them"
        raise ApiError(404, "no_process", text, param="service")
    message = await drain_process(backend, service, instance)
    log.info("an operator drains %s %s", service, instance)
    return JSONResponse({"id": instance, "state": "draining", "message": message}, 202, headers=_FRESH)
