"""Thoughts and control markers never leave the filter, in whatever pieces they come; ordinary text streams through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.agents.reasoning import MAX_HELD, ReasoningFilter, visible

pytestmark = pytest.mark.pure

TEN = "It is ten."
SECRET = "Zebra thoughts."
BLOCKS = (
    "<think>{}</think>",
    "<thinking>{}</thinking>\n\n",
    "<reasoning>{}</reasoning>",
    "<thought>{}</thought>",
    "<reflection>{}</reflection>",
    "<scratchpad>{}</scratchpad>",
    "<analysis>{}</analysis>",
    "<antThinking>{}</antThinking>",
    "<seed:think>{}</seed:think>",
    "<THINK >{}</THINK>",
    "<think time=\"2s\" kind='deep'>{}</think>",
    "[THINK]{}[/THINK]",
    "\u25c1think\u25b7{}\u25c1/think\u25b7",
    "<|channel>thought\n{}<channel|>",
    "<|channel>thought {}<channel|>\n",
    "<|channel|>thought\n{}<channel|>",
    "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|channel|>analysis<|message|>{}<|end|>",
    "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>",
    "<|begin_of_thought|>{}<|end_of_thought|>",
    "<\uff5cbegin\u2581of\u2581think\uff5c>{}<\uff5cend\u2581of\u2581think\uff5c>",
    "<|inner_prefix|>{}<|inner_suffix|>",
    "<unused94>thought\n{}<unused95>",
    "<think>a <think>{}</think> b</think>",
    "<think>\n<think>\n{}</think>\n{}</think>\n",
    "{}</think>",
    "{}[/THINK]",
    "The user asks. {}</think>\n\n",
    "analysisThe caller. {}assistantfinal",
)
ORDINARY = (
    "If a < b and b > c, then x[1] is 3.",
    "I think <b>bold</b> of you, a <i>lot</i>; it's <5 and <= 7.",
    "Use the `<think>` tag, or `[THINK]`.",
    "[laughs] Well, I <3 you. <s",
    "The user manual is on page 3.",
    "The customer service is open until five.",
    "The users like it. The caller ID is 5.",
    "Okay, the answer is ten.",
    "Okay, the ",
    "So the thing is: we need to talk. Analysis shows that.",
    "analysis paralysis",
    "a <| b |> c",
    "<tool_call>{}</tool_call> is for another filter",
    "1 < 2",
    "<",
    "[",
    "think, thinking, reasoning: words",
    "<thinker> and <responses>",
    "Line one\nline two\n\n- a list",
)
ENDS = ("", "<|im_end|>", "</s>", "<|eot_id|>", "<end_of_turn>", "<|return|>", "<|endoftext|>")


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("end", ENDS[:3])
def test_a_block_of_thoughts_is_not_passed_on(block: str, end: str) -> None:
    text = block.replace("{}", SECRET) + TEN + end
    assert visible([text]).strip() == TEN
    assert visible(text).strip() == TEN, "letter by letter"


@given(st.sampled_from(BLOCKS), st.sampled_from(ENDS), st.lists(st.integers(0, 500), max_size=8))
def test_where_a_stream_is_cut_makes_no_difference(block: str, end: str, places: list[int]) -> None:
    text = block.replace("{}", SECRET) + TEN + end
    assert visible(cut(text, places)).strip() == TEN


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_untouched(text: str) -> None:
    assert visible([text]) == text
    assert visible(text) == text


@given(st.sampled_from(ORDINARY), st.lists(st.integers(0, 500), max_size=8))
def test_ordinary_text_is_untouched_in_whatever_pieces(text: str, places: list[int]) -> None:
    assert visible(cut(text, places)) == text


@given(st.text(alphabet="abc <>[]|/`think \n", max_size=80), st.lists(st.integers(0, 200), max_size=5))
def test_any_text_gives_the_same_in_any_pieces(text: str, places: list[int]) -> None:
    assert visible(cut(text, places)) == visible([text])


@pytest.mark.parametrize("opening", [block.partition("{}")[0] for block in BLOCKS if not block.startswith("{}")][:22])
def test_an_unclosed_block_is_never_passed_on(opening: str) -> None:
    for cut_by_limit in (False, True):
        assert SECRET not in visible([opening, SECRET, " More."], cut=cut_by_limit)


def test_text_before_between_and_behind_blocks_is_kept() -> None:
    assert visible(["It <think>a</think>is <think>b</think>ten."]) == TEN
    assert visible(["It is ten.<think>Was that right?</think>"]) == TEN
    assert visible(["<think>a</think>It is ten.</think>"]) == TEN, "one end too many"


def test_an_answer_inside_of_a_block_that_was_closed_once_too_rarely_is_not_lost() -> None:
    """Thoughts that only mention the marker must not cost the answer."""
    assert visible(["<think>I may use <think> here.</think>", TEN]) == TEN


def test_text_streams_and_only_what_may_be_a_marker_is_held_back() -> None:
    thoughts = ReasoningFilter()
    for piece, seen in (
        ("It is ", "It is "),
        ("<", ""),
        ("b>ten", "<b>ten"),
        ("<thi", ""),
        ("s>", "<this>"),
        (".", "."),
    ):
        assert thoughts.feed(piece) == (seen, False)


def test_thoughts_that_end_after_they_were_passed_on_are_taken_back() -> None:
    thoughts = ReasoningFilter()
    assert thoughts.feed("I look at the clock. ")[0]
    assert thoughts.feed("</think>It is ten.") == (TEN, True)
    assert thoughts.only_closed


def test_a_template_that_opens_thoughts_is_waited_for_and_an_answer_without_them_comes_at_its_end() -> None:
    assert visible(["I look at the clock. ", "</think>", TEN], template_opens=True) == TEN
    assert visible([TEN], template_opens=True) == TEN
    assert visible(["I look at the"], template_opens=True, cut=True) == ""
    thoughts = ReasoningFilter(template_opens=True)
    assert thoughts.feed("I look at the clock. ") == ("", False)


@pytest.mark.parametrize(
    ("beginning", "held"),
    [
        ("The caller wants the time.", True),
        ("Okay, the user is asking for the time.", True),
        ("So the user's question is", True),
        ("We need to respond briefly.", True),
        ("The customer service is open.", False),
        ("The user manual says", False),
        ("Okay, let me check that.", False),
        ("So you want the time?", False),
        ("It is ten.", False),
    ],
)
def test_a_beginning_in_which_the_caller_is_a_third_person_is_doubted_and_no_other(beginning: str, held: bool) -> None:
    thoughts = ReasoningFilter()
    seen = "".join(thoughts.feed(letter)[0] for letter in beginning)
    assert seen == ("" if held else beginning)
    assert seen + thoughts.end(cut=False) == beginning, "no marker followed: it was an answer"


def test_what_is_held_back_is_bounded() -> None:
    for opens, opening in (
        (True, ""),
        (False, "The user wants"),
        (False, "analysisX"),
        (False, "<think>a<think>b</think>"),
    ):
        thoughts = ReasoningFilter(opens)
        thoughts.feed(opening)
        for _ in range(20):
            thoughts.feed("x" * 5000)
        assert len(thoughts.end(cut=False)) <= MAX_HELD + 5000
