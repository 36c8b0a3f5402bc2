"""Answers questions from a folder of documents: a text agent that finds the paragraph which fits best, and reads it.

    DOCUMENTS=docs python retrieval_agent.py

A language model would get the paragraphs as a system message in front of `turn.messages`.
"""

import math
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from antiphon.agent import TextAgent, Turn

DOCUMENTS = Path(os.environ.get("DOCUMENTS", "documents"))
COMMON = {
    "the", "a", "an", "of", "to", "in", "is", "are", "and", "or", "for", "with", "what", "which", "how", "do", "does",
    "i", "you", "it", "that", "this", "on", "at", "be", "can",
}  # fmt: skip

agent = TextAgent("library", greeting="This is the library. What would you like to know?")


def words_of(text: str) -> list[str]:
    return [word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in COMMON]


class Index:
    """The paragraphs of a folder, by their words. Built at the start of the process."""

    def __init__(self, folder: Path) -> None:
        files = sorted(file for file in folder.rglob("*") if file.suffix in (".md", ".txt"))
        blocks = [block for file in files for block in re.split(r"\n\s*\n", file.read_text())]
        self.paragraphs = [" ".join(block.split()) for block in blocks if len(block.split()) > 3]
        self.counts = [Counter(words_of(paragraph)) for paragraph in self.paragraphs]
        seen = Counter(word for counts in self.counts for word in counts)
        self.weight = {word: math.log(1 + len(self.counts) / n) for word, n in seen.items()}

    def best(self, question: str) -> str:
        """The paragraph that fits best; empty if none does."""
        asked = set(words_of(question)) & self.weight.keys()
        scores = [
            sum(self.weight[word] * min(counts[word], 2) for word in asked) / (5 + math.sqrt(counts.total()))
            for counts in self.counts
        ]
        top = max(range(len(scores)), key=scores.__getitem__, default=-1)
        return self.paragraphs[top] if top >= 0 and scores[top] > 0 else ""


index = Index(DOCUMENTS)


@agent.reply
async def reply(turn: Turn) -> AsyncIterator[str]:
    found = index.best(turn.text)
    if not found:
        yield "I am sorry, I have read nothing about that. What else would you like to know?"
        return
    yield "Here is what I have read. "
    for sentence in re.split(r"(?<=[.!?])\s+", found)[:3]:
        yield f"{sentence} "


if __name__ == "__main__":
    agent.run()
