"""From an agent's text to speech: words, phonemes, samples, and what of them the caller has heard."""
