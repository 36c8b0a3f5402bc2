"""An agent that asks any OpenAI-compatible chat server (Ollama, vLLM, llama.cpp, a hosted one), streamed.

It keeps nothing between two requests: it sends the conversation on record, which holds what was played to the caller
and not what the model wrote. So after an interruption the model never sees the rest of its own reply.

The server is not trusted with this process: `chat_client` bounds its bytes, `chat_answer` what they say, this file how
long it may take. A server that is busy or loads its model is asked again while the caller waits; one whose connection
is cut in the middle of an answer is asked once to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import httpx2

from antiphon.inference_bridge.agents import FunctionCall, Incomplete, ReplyPart, Request, Retracted, chat_check
from antiphon.inference_bridge.agents.chat_answer import AnswerDecoder, TooLongError
from antiphon.inference_bridge.agents.chat_client import ChatClient, ChatServerError, StatusError
from antiphon.inference_bridge.agents.chat_request import question
from antiphon.inference_bridge.agents.profile import FailureSentences
from antiphon.inference_bridge.agents.server_failures import FEW, Failure, of_status, of_transport
from antiphon.inference_bridge.agents.server_habits import ServerHabits, learn, refusal_of
from antiphon.inference_bridge.agents.tool_calls import names_of, new_id
from antiphon.inference_bridge.agents.tool_memory import call_items
from antiphon.inference_bridge.phrases import phrase
from antiphon.runtime.metrics.model_meter import NOT_MEASURED, ModelMeter

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 180.0
"""That an answer may keep this process waiting, all its pieces together; the time in which it is spoken is not counted.
A model that writes four words a second fills `MAX_ANSWER` in nine minutes, of which speech takes the most."""
LOAD_SECONDS: Final = 120.0
"""Until the first word, where the settings say nothing else."""
MAX_REFUSALS: Final = 10
"""Forms of a request that are tried where the server refuses one after the other."""
MAX_TOLD: Final = 3
"""Functions that a model is told of that they don't exist."""
_SLICE_SECONDS: Final = 0.005
"""Time after which other tasks get the event loop, while pieces are there already."""
_USUAL: Final = FailureSentences()
_NO_PARAMETERS: Final[Mapping[str, Any]] = {}


def client_for(base_url: str, api_key: str) -> ChatClient:
    """`api_key` may be empty: local servers want none."""
    return ChatClient(base_url, api_key)


class ModelError(Exception):
    """The server failed, stalled, or sent an empty answer. Raised to a model worker; `reply` apologises instead."""


class AnswerTooLongError(ModelError):
    """The answer goes beyond `MAX_ANSWER`; what came before is good."""


class _FilteredError(Exception):
    """The server won't answer this conversation, by its content filter."""


class LanguageModel:
    """The `Agent` of one call, which owns it; a model worker has one for all its requests. Used on the event loop."""

    def __init__(
        self,
        client: ChatClient,
        model: str,
        timeout: float,
        on_failure: Callable[[], None] = lambda: None,
        load_timeout: float = LOAD_SECONDS,
        meter: ModelMeter = NOT_MEASURED,
        parameters: Mapping[str, Any] = _NO_PARAMETERS,
        failures: FailureSentences = _USUAL,
    ) -> None:
        """`timeout`: seconds for which a busy server is asked again, and from one piece of an answer to the next.

        `load_timeout`: seconds until the first word of a server that has taken the question, or says that it loads.
        `client` is the process's and outlives the agent. `on_failure`: called after each answer that failed.
        `parameters`: fields of each request, such as `temperature`. `failures`: said in place of the usual sentences.
        """
        self._client, self._model, self._timeout, self._on_failure = client, model, timeout, on_failure
        self._load_timeout = load_timeout
        self._meter = meter
        self._parameters, self._failures = parameters, failures

    async def reply(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; an apology in place of the rest when the server fails."""
        spoken = False
        try:
            async with contextlib.aclosing(self.stream(request)) as parts:
                async for part in parts:
                    spoken = (spoken or isinstance(part, str)) and not isinstance(part, Retracted)
                    yield part
        except AnswerTooLongError as error:
            log.warning("%s", error)
            yield f" {self._failures.too_long or phrase('too_long', request.language)}"
        except ModelError as error:
            log.warning("%s", error)
            self._on_failure()
            apology = self._apology(request)
            yield f" {apology}" if spoken else apology

    async def warm_up(self) -> None:
        """Have the server load its model; `ModelError` if it can't answer."""
        trouble = await chat_check.ask(self._client, self._model, self._client.has_key, self._load_timeout)
        if trouble:
            raise ModelError(f"language model {self._model}: {trouble.what}. {trouble.fix}")

    async def stream(self, request: Request) -> AsyncGenerator[ReplyPart, None]:
        """The answer piece by piece; `ModelError` when it fails, `AnswerTooLongError` where it does not end.

        A model that calls nothing but functions that were never offered is told so, and asked once more. If it does
        so again without a word, a sentence says that it did not work.
        """
        said, unknown = request.already_spoken, list[str]()
        async with contextlib.aclosing(self._meter.measured(self._stream(request, unknown))) as parts:
            async for part in parts:
                said = said + part if isinstance(part, str) else "" if isinstance(part, Retracted) else said
                yield part
        if not unknown:
            return
        if said.strip():
            yield "\n"  # ends a clause, which is spoken meanwhile
        items = [*request.items, *told_of(unknown, said, request)]
        again, unknown = replace(request, items=items, already_spoken=""), []
        new, before, anything = "", said.strip(), False
        async with contextlib.aclosing(self._meter.measured(self._stream(again, unknown))) as parts:
            async for part in parts:
                new += part if isinstance(part, str) else ""
                if anything or not isinstance(part, str):
                    yield part
                elif not before.startswith(new.strip()):  # else it may be the same words once more
                    anything = True
                    yield new
        if unknown and not anything:
            yield self._failures.tool_failed or phrase("tool_failed", request.language)

    async def _stream(self, request: Request, unknown: list[str]) -> AsyncGenerator[ReplyPart, None]:
        """`unknown` gets the names of functions that were called and never offered, if there are no other calls."""
        answer = _Answer(self._client, self._model, self._timeout, self._load_timeout)
        text, began, attempt = request.already_spoken, time.monotonic(), 0
        continues = quietly = False
        while True:
            decoder, failure = self._decoder(request, text), None
            try:
                asked = replace(request, already_spoken=text)
                async with contextlib.aclosing(answer.parts(asked, decoder, self._parameters)) as parts:
                    async for part in parts:
                        text = text + part if isinstance(part, str) else ""
                        yield part
            except _FilteredError:
                yield phrase("refused", request.language)
                yield Incomplete("content_filter")
                return
            except Failure as error:
                failure = error
            if failure is None:
                for part in self._end(decoder, request, text, unknown):
                    yield part
                return
            quietly = quietly or answer.ended_quietly
            rest = decoder.end(whole=False) if decoder.began else []
            has_calls = any(isinstance(part, FunctionCall) for part in rest)
            for part in rest:
                if has_calls or isinstance(part, str):
                    text += part if isinstance(part, str) else ""
                    yield part
            if has_calls:
                return
            if decoder.began and not continues and answer.has_time:
                log.info("language model %s: cut off in its answer (%s), asked to go on", self._model, failure)
                continues = True
            elif not (decoder.began or (continues and decoder.has_chunks)) and self._tries_again(
                failure, attempt, began, answer
            ):
                pause = failure.pause_before(attempt)
                log.info("language model %s: %s; asked again in %.1f s", self._model, failure, pause)
                await asyncio.sleep(pause)
                attempt += 1
            elif quietly and text:
                return  # the server may just not mark the end of its answers
            else:
                raise ModelError(f"language model {self._model}: {failure}")
            answer.again(after_words=bool(text))

    def _decoder(self, request: Request, spoken: str) -> AnswerDecoder:
        ids = {str(item["call_id"]) for item in request.items if item.get("type") == "function_call"}
        tools = () if request.tool_choice == "none" else names_of(request.tools)
        return AnswerDecoder(tools, ids, spoken, self._client.template_opens)

    def _tries_again(self, failure: Failure, attempt: int, began: float, answer: _Answer) -> bool:
        ends = time.monotonic() - began + failure.pause_before(attempt)
        return attempt < failure.tries and ends <= failure.within and answer.has_time

    def _end(self, decoder: AnswerDecoder, request: Request, text: str, unknown: list[str]) -> list[ReplyPart]:
        """What is left of an answer that has ended in order, after this text; `ModelError` if it was none."""
        rest = decoder.end()
        name = f"language model {self._model}"
        if isinstance(decoder.failure, TooLongError):
            raise AnswerTooLongError(f"{name}: {decoder.failure}")
        if decoder.failure:
            raise ModelError(f"{name}: {decoder.failure}")
        self._client.has_answered()
        if decoder.only_closed or (self._client.template_opens and decoder.said and not decoder.closed_thoughts):
            self._client.template_opens_thoughts(decoder.only_closed)
        if decoder.unknown:
            log.warning("%s: called %s, which was not offered", name, ", ".join(decoder.unknown)[:200])
            if not any(isinstance(part, FunctionCall | Incomplete) for part in rest):
                unknown += decoder.unknown
                return rest
        if decoder.said or text or any(isinstance(part, FunctionCall) for part in rest):
            return rest
        if decoder.finish == "content_filter":
            return [phrase("refused", request.language), *rest]
        if decoder.finish == "length":
            return [self._apology(request), *rest]
        raise ModelError(f"{name}: empty answer")

    def _apology(self, request: Request) -> str:
        return self._failures.apology or phrase("apology", request.language)

    def played(self, text: str) -> None:
        """Nothing to do: each request brings the conversation, in which the reply is cut to what was played."""

    def greeting_played(self, text: str) -> None:
        """Nothing to do, as in `played`."""

    def saved(self) -> Any:
        """None: this agent keeps nothing between two requests."""
        return None

    def restore(self, saved: Any) -> None:
        """Nothing to do: this agent keeps nothing between two requests."""

    def ended(self) -> None:
        """Nothing to do: the server keeps no call."""


def told_of(unknown: list[str], said: str, request: Request) -> list[dict[str, Any]]:
    """Items by which a model learns that it has called functions that it does not have."""
    calls = [FunctionCall(new_id(), name[:64] or "unknown", "{}") for name in unknown[:MAX_TOLD]]
    known = ", ".join(sorted(names_of(request.tools))) if request.tool_choice != "none" else ""
    what = f"there are: {known}" if known else "there are none: answer in words"
    return call_items(said, calls, [f"there is no function {call.name}; {what}"[:1000] for call in calls])


class _Answer:
    """Asks the server, perhaps several times, for one answer, and keeps count of the time that it takes.

    Owned by one `stream`.
    """

    def __init__(self, client: ChatClient, model: str, timeout: float, load_timeout: float) -> None:
        self.ended_quietly = False
        """The last stream has ended without an error and without saying that it was complete."""
        self._client, self._model, self._timeout = client, model, timeout
        self._first_word = load_timeout
        """Seconds until the first word."""
        self._left = max(ANSWER_SECONDS, load_timeout) if load_timeout > LOAD_SECONDS else ANSWER_SECONDS

    @property
    def has_time(self) -> bool:
        """There is time for another try."""
        return self._left > 0

    def again(self, after_words: bool) -> None:
        """The server is asked once more. `after_words`: its model is loaded, so a long silence means something else."""
        if after_words:
            self._first_word = self._timeout

    async def parts(
        self, request: Request, decoder: AnswerDecoder, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[ReplyPart, None]:
        """What the server sends, as far as it is text. `Failure` if it fails. `parameters`: fields of the request."""
        self.ended_quietly = False
        habits = self._client.habits
        for _ in range(MAX_REFUSALS):
            body = question(request, self._model, habits, parameters)
            try:
                async with contextlib.aclosing(self._asked(body, decoder)) as parts:
                    async for part in parts:
                        yield part
            except StatusError as error:
                other = self._other_form(habits, error, body)
                if other is None:
                    raise of_status(error, self._timeout, self._first_word) from None
                habits = other
            else:
                if habits != self._client.habits:
                    log.info("the chat server %s wants to be asked otherwise: %s", self._client.base_url, habits)
                    self._client.found(replace(habits, half_history=0))
                return
        raise Failure(f"it refused {MAX_REFUSALS} forms of the request")

    def _other_form(self, habits: ServerHabits, error: StatusError, body: dict[str, Any]) -> ServerHabits | None:
        if error.status not in (400, 413, 422):
            return None
        refusal = refusal_of(error.body, error.text)
        if refusal.is_filtered:
            raise _FilteredError
        return learn(habits, refusal, body)

    async def _asked(self, body: dict[str, Any], decoder: AnswerDecoder) -> AsyncGenerator[ReplyPart, None]:
        """One request. `StatusError`, `Failure`."""
        began = time.monotonic()
        try:
            async with self._client.ask(body, min(self._first_word, self._left)) as response:
                self._waited(began)
                kind = response.headers.get("content-type", "")
                if kind.startswith("text/html"):
                    raise Failure(f"its answer is {kind:.60}, expected text/event-stream")
                reading = self._whole(response, decoder) if kind.startswith("application/json") else None
                async with contextlib.aclosing(reading or self._streamed(response, decoder, began)) as parts:
                    async for part in parts:
                        yield part
        except StatusError:
            self._waited(began)
            raise
        except httpx2.HTTPError as error:
            self._waited(began)
            raise of_transport(error, self._timeout) from None
        except (ChatServerError, httpx2.InvalidURL) as error:
            raise Failure(str(error)) from None
        except TimeoutError:
            raise Failure("no answer in time") from None

    def _waited(self, since: float) -> None:
        self._left -= time.monotonic() - since

    async def _whole(self, response: httpx2.Response, decoder: AnswerDecoder) -> AsyncGenerator[ReplyPart, None]:
        """An answer in one piece, which some servers send unasked."""
        data = b""
        async with asyncio.timeout(min(self._first_word, self._left)):
            async for piece in response.aiter_raw():
                data += piece
        is_stream = data.lstrip()[:5] in (b"data:", b"event", b": pin") or data.startswith(b":")
        for part in decoder.feed(data) if is_stream else decoder.whole(data):
            yield part
        self._check_end(decoder)

    async def _streamed(
        self, response: httpx2.Response, decoder: AnswerDecoder, asked: float
    ) -> AsyncGenerator[ReplyPart, None]:
        pieces = response.aiter_raw()
        breathed = time.monotonic()
        while not decoder.done:
            began = time.monotonic()
            if began - breathed > _SLICE_SECONDS:
                await asyncio.sleep(0)
                breathed = time.monotonic()
            within = self._timeout if decoder.began else self._first_word - (began - asked)
            try:
                async with asyncio.timeout(max(0.0, min(within, self._left))):
                    piece = await anext(pieces, None)
            finally:
                self._waited(began)
            if piece is None:
                break
            for part in decoder.feed(piece):
                yield part
            if decoder.failure or decoder.error:
                break
        self._check_end(decoder)

    def _check_end(self, decoder: AnswerDecoder) -> None:
        """`Failure` if the answer has not ended where the stream has."""
        if decoder.failure or decoder.ended:
            return
        if decoder.error:
            raise Failure(f"it says: {decoder.error}", FEW, self._timeout)
        if decoder.began and not decoder.seems_complete:
            self.ended_quietly = True
            raise Failure("its answer ends without a mark of its end")
        if not decoder.began and decoder.has_chunks:
            raise Failure("its answer ends before the first word", FEW, self._timeout)
