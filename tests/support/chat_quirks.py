"""The quirks that the scripted chat server plays: what is sent, and what a caller is to get. Data.

Each is met with some server; `about` says with which. `tests/support/chat_quirks.md` is `--list` of
`scripted_chat_server`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from support.scripted_chat_server import Answer, ScriptedChat, strict_template

TOOLS: Final = tuple(
    {"type": "function", "name": name, "description": "", "parameters": {"type": "object", "properties": {}}}
    for name in ("get_time", "get_weather", "saveAnswer")
)
PARIS: Final = ("get_weather", {"city": "Paris"})
TIME: Final[tuple[str, dict[str, Any]]] = ("get_time", {})


@dataclass(frozen=True)
class Quirk:
    """One way in which a server is odd, and what is right all the same."""

    name: str
    about: str
    answers: tuple[Answer, ...]
    text: str = ""
    """What is spoken."""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    strict: bool = False
    incomplete: str = ""
    """The reason of an answer that is reported as incomplete."""
    requests: int = 1
    """That the server gets for one answer, those not counted that it refuses."""

    def prepare(self, chat: ScriptedChat) -> None:
        chat.answers = list(self.answers)
        chat.refuses = dict(self.refuses)
        chat.strict = strict_template if self.strict else None


def chunk(delta: Any, finish: str | None = None, **more: Any) -> str:
    """One chunk as a server-sent event."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"


def words(*pieces: str) -> list[str]:
    return [chunk({"content": piece}) for piece in pieces]


def calls(*pieces: Any) -> str:
    return chunk({"tool_calls": list(pieces)})


def piece(index: Any = None, call_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    """One entry of `tool_calls`; None: the field is missing."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    entry = {"index": index, "id": call_id, "function": function}
    return {key: value for key, value in entry.items() if value is not None}


STOP: Final = chunk({}, "stop")
CALLED: Final = chunk({}, "tool_calls")
DONE: Final = "data: [DONE]\n\n"
TEN: Final = ["It ", "is ", "ten."]


def stream(*lines: str, delay: float = 0.0, **how: Any) -> Answer:
    return Answer([(delay, line) for line in lines], **how)


def spoken(*pieces: str) -> Answer:
    return stream(chunk({"role": "assistant", "content": ""}), *words(*pieces), STOP, DONE)


def _reasoning(name: str, about: str, *pieces: str, text: str = "It is ten.") -> Quirk:
    return Quirk(name, about, (spoken(*pieces),), text)


def _odd_line(name: str, about: str, line: str) -> Quirk:
    """A line that means nothing, in front of, between and behind the words."""
    first, *rest = words(*TEN)
    return Quirk(name, about, (stream(line, first, line, *rest, line, STOP, line, DONE),), "It is ten.")


def _called(name: str, about: str, *lines: str, right: tuple[Any, ...] = (PARIS, TIME), text: str = "") -> Quirk:
    return Quirk(name, about, (stream(*lines, CALLED, DONE),), text, right)


def _written(name: str, about: str, text: str, right: tuple[Any, ...] = (PARIS,), said: str = "") -> Quirk:
    return Quirk(name, about, (spoken(*text),), said, right)


def _refusing(name: str, about: str, option: str, status: int, text: str) -> Quirk:
    return Quirk(name, about, (spoken(*TEN),), "It is ten.", refuses={option: (status, text)})


def _busy(name: str, about: str, status: int, body: str, headers: dict[str, str] | None = None) -> Quirk:
    refusal = Answer(status=status, body=body, headers=headers or {})
    return Quirk(name, about, (refusal, spoken(*TEN)), "It is ten.", requests=2)


CITY: Final = '{"city": "Paris"}'
CALL: Final = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
RECORDED: Final = tuple(
    "".join(
        [
            "<think>\n|Okay|,| the| caller| is| asking| what| time| it| is|.| The| system| prompt| says| it| is|",
            " |10|:|00|.| If| x| <| y| I| would| say| so|,| but| that| is| not| asked|.| Wait|,| should| I| say|",
            ' "|It| is| ten|"?| Yes|.\n|</|think|>\n\n|It| is| ten|.',
        ]
    ).split("|")
)
"""A stream as a Qwen3 model behind Ollama sends it: piece by piece, the markers split."""

QUIRKS: Final = (
    # thoughts in the text
    _reasoning(
        "think-split",
        "Qwen3 on Ollama: markers in pieces",
        "<thi",
        "nk>",
        "The caller wants the time.",
        "</think>",
        *TEN,
    ),
    _reasoning("think-recorded", "the stream of a reasoning model, as recorded", *RECORDED),
    _reasoning("think-letters", "letter by letter", *"<think>The caller wants the time.</think>It is ten."),
    _reasoning("think-whole", "in one piece", "<think>The caller wants the time.</think>It is ten."),
    _reasoning("thinking-tag", "another name", "<thinking>The caller wants the time.</thinking>", *TEN),
    _reasoning("reasoning-tag", "another name", "<reasoning>The caller wants the time.</reasoning>", *TEN),
    _reasoning("think-closed-only", "the template has opened it", "The caller wants the time.", "</think>", *TEN),
    _reasoning("think-brackets", "Magistral", "[THINK]", "The caller wants the time.", "[/THINK]", *TEN),
    _reasoning("think-nested", "a block in a block", "<think>a<think>b</think>c</think>", *TEN),
    _reasoning("think-twice", "two blocks", "<think>a</think>It ", "is <think>b</think>", "ten."),
    _reasoning("think-kimi", "Kimi", "\u25c1think\u25b7a\u25c1/think\u25b7", *TEN),
    _reasoning(
        "think-cohere", "Command A", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>", *TEN, "<|END_RESPONSE|>"
    ),
    _reasoning("think-seed", "Seed-OSS", "<seed:think>a</seed:think>", *TEN),
    _reasoning("think-attributes", "with attributes, in capitals", '<THINK time="2">a</THINK>', *TEN),
    _reasoning("answer-tag", "the answer in a tag", "<think>a</think><answer>", *TEN, "</answer>"),
    _reasoning(
        "harmony",
        "gpt-oss without a parser",
        "<|channel|>analysis<|message|>The caller wants the time.<|end|>",
        "<|start|>assistant<|channel|>final<|message|>",
        *TEN,
        "<|return|>",
    ),
    _reasoning("harmony-stripped", "its markers taken off", "analysisThe caller wants the time.assistantfinal", *TEN),
    _reasoning("gemma-channel", "Gemma 4", "<|chan", "nel>thought\nThe caller wants the time.<chan", "nel|>", *TEN),
    _reasoning("unused-tokens", "MedGemma", "<unused94>thought\na<unused95>", *TEN),
    _reasoning("end-tokens", "end markers let through", *TEN, "<|im_end|>", "</s>"),
    Quirk(
        "think-unclosed",
        "no end: nothing of it is spoken",
        (spoken("<think>", "The caller wants the time. It is ten."),),
        "APOLOGY",
    ),
    Quirk(
        "reasoning-content",
        "thoughts in a field of their own",
        (
            stream(
                chunk({"reasoning_content": "The caller wants the time."}),
                chunk({"reasoning": "So be it."}),
                *words(*TEN),
                STOP,
                DONE,
            ),
        ),
        "It is ten.",
    ),
    Quirk(
        "thinking-parts",
        "Mistral's API: content as a list of parts",
        (
            stream(
                chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}),
                chunk({"content": [{"type": "text", "text": "It is ten."}]}),
                STOP,
                DONE,
            ),
        ),
        "It is ten.",
    ),
    _reasoning(
        "ordinary-text",
        "nothing to take out",
        "If a < b, I think <b>x[1]</b> {is} fine.",
        text="If a < b, I think <b>x[1]</b> {is} fine.",
    ),
    # odd lines of the stream
    _odd_line("data-null", "`data: null` to keep the connection alive", "data: null\n\n"),
    _odd_line("data-empty", "`data:` without a value", "data:\n\n"),
    _odd_line("comments", "comments to keep the connection alive", ": keep-alive\n\n"),
    _odd_line("event-ping", "events of other kinds", "event: ping\ndata: {}\n\n"),
    _odd_line(
        "delta-null", "Azure: a choice whose delta is null", 'data: {"choices": [{"index": 0, "delta": null}]}\n\n'
    ),
    _odd_line("choices-null", "choices null", 'data: {"choices": null}\n\n'),
    _odd_line("choices-empty", "Azure: no choice", 'data: {"choices": [], "prompt_filter_results": []}\n\n'),
    _odd_line("choices-missing", "no choices", 'data: {"id": "x"}\n\n'),
    _odd_line("content-null", "null for everything", chunk({"content": None, "tool_calls": None, "reasoning": None})),
    _odd_line("half-json", "a line that is no JSON", "data: {\n\n"),
    _odd_line(
        "usage-null",
        "usage with null numbers",
        'data: {"choices": [], "usage": {"prompt_tokens": null, "completion_tokens": null}}\n\n',
    ),
    Quirk(
        "crlf",
        "CRLF and a byte order mark",
        (stream("\ufeff" + "".join([*words(*TEN), STOP, DONE]).replace("\n", "\r\n")),),
        "It is ten.",
    ),
    Quirk(
        "no-blank-lines",
        "one line end between events",
        (stream("".join([*words(*TEN), STOP, DONE]).replace("\n\n", "\n")),),
        "It is ten.",
    ),
    Quirk("no-done", "no `[DONE]` at the end", (stream(*words(*TEN), STOP),), "It is ten."),
    Quirk("no-end", "neither `[DONE]` nor a finish_reason", (stream(*words(*TEN)),), "It is ten."),
    Quirk(
        "no-stream",
        "the answer in one piece",
        (Answer(body=json.dumps({"choices": [{"message": {"content": "It is ten."}, "finish_reason": "stop"}]})),),
        "It is ten.",
    ),
    # function calls
    _called(
        "calls-index-0",
        "Ollama: index 0 for all",
        calls(piece(0, "c1", "get_weather", CITY)),
        calls(piece(0, "c2", "get_time", "{}")),
    ),
    _called(
        "calls-no-index",
        "no index",
        calls(piece(None, "c1", "get_weather", CITY)),
        calls(piece(None, "c2", "get_time", "{}")),
    ),
    _called(
        "calls-no-index-at-once",
        "no index, in one chunk",
        calls(piece(None, "c1", "get_weather", CITY), piece(None, "c2", "get_time", "{}")),
    ),
    _called(
        "calls-no-id", "no id", calls(piece(0, None, "get_weather", CITY)), calls(piece(1, None, "get_time", "{}"))
    ),
    _called(
        "calls-no-index-no-id",
        "neither",
        calls(piece(None, None, "get_weather", CITY)),
        calls(piece(None, None, "get_time", "{}")),
    ),
    _called(
        "calls-same-id",
        "the same id twice",
        calls(piece(0, "c", "get_weather", CITY)),
        calls(piece(1, "c", "get_time", "{}")),
    ),
    _called(
        "calls-name-repeated",
        "the name in each piece",
        *(calls(piece(0, "c1", "get_weather", part)) for part in ("", '{"city":', ' "Paris"}')),
        right=(PARIS,),
    ),
    _called(
        "calls-id-repeated",
        "the id in each piece, no index",
        *(
            calls(piece(None, "c1", "get_weather" if n == 0 else None, part))
            for n, part in enumerate(("", '{"city":', ' "Paris"}'))
        ),
        right=(PARIS,),
    ),
    _called(
        "calls-letters",
        "the arguments letter by letter",
        calls(piece(0, "c1", "get_weather", "")),
        *(calls(piece(0, None, None, letter)) for letter in CITY),
        right=(PARIS,),
    ),
    _called(
        "calls-mixed",
        "pieces of two calls in turns",
        calls(piece(0, "c1", "get_weather", '{"city":')),
        calls(piece(1, "c2", "get_time", "{")),
        calls(piece(0, None, None, ' "Paris"}')),
        calls(piece(1, None, None, "}")),
    ),
    _called(
        "calls-object",
        "arguments as an object",
        calls(piece(0, "c1", "get_weather", {"city": "Paris"})),
        right=(PARIS,),
    ),
    _called("calls-no-arguments", "no arguments", calls(piece(0, "c1", "get_time")), right=(TIME,)),
    _called(
        "calls-beside-text",
        "in the same delta as text",
        chunk({"content": "Let me look.", "tool_calls": [piece(0, "c1", "get_weather", CITY)]}),
        right=(PARIS,),
        text="Let me look.",
    ),
    _called(
        "calls-legacy",
        "`function_call` of old",
        chunk({"function_call": {"name": "get_weather", "arguments": CITY}}),
        right=(PARIS,),
    ),
    Quirk(
        "calls-unknown",
        "a function that was never offered, and again",
        (stream(*words(*TEN), calls(piece(0, "c1", "rm_rf", "{}")), CALLED, DONE),),
        "It is ten. TOOL_FAILED",
        requests=2,
    ),
    # calls as text
    _written("text-call-tag", "Hermes and Qwen", f"<tool_call>\n{CALL}\n</tool_call>"),
    _written("text-call-json", "Llama and small models", CALL),
    _written("text-call-fence", "Qwen Coder", f"```json\n{CALL}\n```"),
    _written("text-call-named", "as code", 'saveAnswer({"day": "Monday"})', (("saveAnswer", {"day": "Monday"}),)),
    _written("text-call-mistral", "Mistral", f"[TOOL_CALLS][{CALL}]"),
    _written("text-call-mistral-3", "Mistral Small 3", f"[TOOL_CALLS]get_weather[ARGS]{CITY}"),
    _written("text-call-function", "Llama", f"<function=get_weather>{CITY}</function>"),
    _written("text-call-python-tag", "Llama 3", f"<|python_tag|>{CALL}"),
    _written("text-call-python", "Llama 3.2", '[get_weather(city="Paris")]'),
    _written(
        "text-call-xml",
        "Qwen3 Coder",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
    ),
    _written(
        "text-call-glm",
        "GLM",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
    ),
    _written(
        "text-call-harmony",
        "gpt-oss",
        f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{CITY}<|call|>",
    ),
    _written(
        "text-call-deepseek",
        "DeepSeek",
        f"<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>get_weather\n```json\n{CITY}\n```<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
    ),
    _written(
        "text-call-kimi",
        "Kimi",
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{CITY}<|tool_call_end|><|tool_calls_section_end|>",
    ),
    _written("text-call-beside", "behind words", f"Let me look. <tool_call>{CALL}</tool_call>", said="Let me look."),
    Quirk(
        "text-call-twice",
        "as text and as a call",
        (
            stream(
                chunk({"content": f"get_weather({CITY})", "tool_calls": [piece(0, "c1", "get_weather", CITY)]}),
                CALLED,
                DONE,
            ),
        ),
        "",
        (PARIS,),
    ),
    Quirk(
        "text-call-unknown",
        "of a function that was never offered, and again",
        (spoken('<tool_call>{"name": "rm_rf", "arguments": {}}</tool_call>'),),
        "TOOL_FAILED",
        requests=2,
    ),
    _written(
        "braces",
        "a text with braces is no call",
        'Say {this} or {"a": 1}, please.',
        (),
        'Say {this} or {"a": 1}, please.',
    ),
    # options that are refused
    _refusing(
        "refuses-max-tokens",
        "OpenAI's newer models",
        "max_tokens",
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    ),
    _refusing(
        "refuses-stream-options",
        "a strict proxy",
        "stream_options",
        422,
        "body.stream_options: Extra inputs are not permitted",
    ),
    _refusing("refuses-tool-choice", "an older server", "tool_choice", 400, "unknown field: tool_choice"),
    _refusing(
        "refuses-tools",
        "Ollama with a model without tools",
        "tools",
        400,
        "registry.ollama.ai/library/gemma:2b does not support tools",
    ),
    _refusing("refuses-unnamed", "without a word about what", "stream_options", 400, "Bad Request"),
    # busy, loading, broken
    _busy("429-retry-after", "rate limited", 429, "{}", {"Retry-After": "0"}),
    _busy("429-bare", "rate limited, without a time", 429, "slow down"),
    _busy(
        "503-loading",
        "llama.cpp",
        503,
        '{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}',
    ),
    _busy("502", "a proxy", 502, "<html>Bad gateway</html>"),
    _busy("500", "any", 500, "oops"),
    Quirk(
        "error-in-stream",
        "an error before the first word",
        (stream('data: {"error": {"message": "overloaded"}}\n\n'), spoken(*TEN)),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "error-event",
        "llama.cpp: the field `error:`",
        (stream('error: {"code": 500, "message": "slot unavailable"}\n\n'), spoken(*TEN)),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "cut-before",
        "the connection ends before the first word",
        (stream(chunk({"role": "assistant"}), cut=True), spoken(*TEN)),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "cut",
        "the connection is reset in mid-answer",
        (stream(*words("It ", "is "), cut=True), spoken("ten.")),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "cut-begins-anew",
        "and the model says it all again",
        (stream(*words("It ", "is "), cut=True), spoken(*TEN)),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "cut-quietly",
        "the stream ends in mid-answer",
        (stream(*words("It ", "is ")), spoken("ten.")),
        "It is ten.",
        requests=2,
    ),
    Quirk(
        "error-in-answer",
        "an error in mid-answer",
        (stream(*words("It ", "is "), 'data: {"error": "out of memory"}\n\n'), spoken("ten.")),
        "It is ten.",
        requests=2,
    ),
    Quirk("strict-template", "Mistral's and Gemma's templates", (spoken(*TEN),), "It is ten.", strict=True),
    # how answers end
    Quirk(
        "length",
        "the limit of words",
        (stream(*words("It ", "is"), chunk({}, "length"), DONE),),
        "It is",
        incomplete="max_output_tokens",
    ),
    Quirk(
        "length-in-thoughts",
        "the limit inside of thoughts",
        (stream(*words("<think>The caller"), chunk({}, "length"), DONE),),
        "APOLOGY",
        incomplete="max_output_tokens",
    ),
    Quirk(
        "content-filter",
        "Azure's filter",
        (stream(*words("It ", "is"), chunk({}, "content_filter"), DONE),),
        "It is",
        incomplete="content_filter",
    ),
    Quirk(
        "content-filter-400",
        "Azure's filter of the question",
        (
            Answer(
                status=400,
                body='{"error": {"code": "content_filter", "message": "the content management policy"}}',
            ),
        ),
        "REFUSED",
        incomplete="content_filter",
    ),
    Quirk(
        "slow-comments",
        "comments while the model is loaded",
        (stream(*[": loading\n\n"] * 6, *words(*TEN), STOP, DONE, delay=0.02),),
        "It is ten.",
    ),
)


def as_markdown() -> str:
    """The list of quirks."""
    lines = [
        "# Quirks of chat servers",
        "",
        "`PYTHONPATH=tests python -m support.scripted_chat_server --quirk NAME` plays one of them,",
        "`test_chat_quirks.py` all. This list is printed by `--list`.",
        "",
        "| name | what | spoken | calls |",
        "|---|---|---|---|",
    ]
    for quirk in QUIRKS:
        about = quirk.about + (f" (refuses `{', '.join(quirk.refuses)}`)" if quirk.refuses else "")
        about += f"; incomplete: {quirk.incomplete}" if quirk.incomplete else ""
        called = ", ".join(f"`{name}({json.dumps(arguments)})`" for name, arguments in quirk.calls)
        lines.append(f"| {quirk.name} | {about} | {quirk.text.replace('|', chr(92) + '|')} | {called} |")
    return "\n".join(lines) + "\n"
