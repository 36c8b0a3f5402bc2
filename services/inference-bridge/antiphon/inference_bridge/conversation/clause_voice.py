"""Speech for the clauses of one response, by the process's voice or what was kept of it; failures cost a clause."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from antiphon.inference_bridge.models.clients import StreamedTts, SttClient, TtsClient
from antiphon.inference_bridge.models.remote.speech_service import SpeechServiceError
from antiphon.inference_bridge.models.threads import BusyError, Urgency
from antiphon.inference_bridge.phrases import phrase
from antiphon.inference_bridge.tts.phrase_cache import PhraseCache
from antiphon.inference_bridge.tts.synthesizer import Samples

log = logging.getLogger(__name__)


@dataclass
class Speech:
    """The speech models of a process. Made by the bridge, shared by all its calls, used on the event loop."""

    stt: SttClient
    tts: TtsClient
    phrases: PhraseCache
    language: str = "en"
    """Of calls that ask for none."""
    voice: str = ""
    """Likewise."""


class ClauseVoice:
    """Speaks the clauses of one response in its voice and language.

    Owned by the response's `ResponsePlayback`, for as long as that; used on the event loop.
    """

    def __init__(self, speech: Speech, owner: str, speed: float, language: str, voice: str) -> None:
        """`owner`: the call, for the models. `voice`: empty for the process's own."""
        self._speech, self._owner, self._speed = speech, owner, speed
        # what is usual has no name for the voice, and phrases that were made at the start are kept so
        self._language = "" if language == speech.language else language
        self._voice = "" if voice == speech.voice else voice
        self._spoken_language = language

    @property
    def streams(self) -> StreamedTts | None:
        """The voice, where a clause may be played while it comes."""
        return self._speech.tts if isinstance(self._speech.tts, StreamedTts) else None

    def known(self, clause: str) -> Samples | None:
        """The clause, if it was kept."""
        return self._speech.phrases.get(clause, self._speed, self._voice, self._language)

    def excuse(self) -> tuple[str, Samples | None]:
        """What is played in place of an answer for which no speech could be made, as words and samples."""
        clause = phrase("no_voice", self._spoken_language)
        samples = self._speech.phrases.kept(clause)
        if samples is None:  # the voice may be gone that speaks the call's language
            clause = phrase("no_voice", self._speech.language)
            samples = self._speech.phrases.kept(clause)
        return clause, samples

    async def synthesize(self, clause: str, urgency: Urgency) -> Samples | None:
        """The clause as speech; None if it could not be made."""
        if (known := self.known(clause)) is not None:
            return known
        job = self._speech.tts.synthesize(clause, self._speed, urgency, self._owner, self._voice, self._language)
        try:
            samples = await job
        except (BusyError, SpeechServiceError) as error:
            log.warning("%s: a clause is left out: %s", self._owner, error)
            return None
        except Exception:
            log.exception("%s: no speech for a clause of %d characters", self._owner, len(clause))
            return None
        finally:
            job.cancel()
        self._speech.phrases.put(clause, self._speed, samples, self._voice, self._language)
        return samples

    async def stream(self, tts: StreamedTts, clause: str, urgency: Urgency) -> AsyncGenerator[Samples | None, None]:
        """The clause piece by piece; None behind the last one of a clause that is whole."""
        pieces: list[Samples] = []
        stream = tts.stream(clause, self._speed, urgency, self._owner, self._voice, self._language)
        try:
            async with aclosing(stream):
                async for samples in stream:
                    pieces.append(samples)
                    yield samples
        except (BusyError, SpeechServiceError) as error:
            log.warning("%s: a clause is left out or cut off: %s", self._owner, error)
            return
        except Exception:
            log.exception("%s: no speech for a clause of %d characters", self._owner, len(clause))
            return
        if pieces:
            self._speech.phrases.put(clause, self._speed, np.concatenate(pieces), self._voice, self._language)
        yield None
