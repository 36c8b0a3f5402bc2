"""Models: which model is slow or fails."""

from __future__ import annotations

from typing import Final

from panels import CONSOLE, REGION, TRACES, Panel, Query, Row, choice, dashboard, quantile, rate, total

MODEL: Final = choice("model", "Model", "label_values(antiphon_model_requests_total, model)")
AGENT: Final = choice("agent", "Agent", 'label_values(antiphon_process_info{service=~"inference-bridge|worker"}, name)')
CHOSEN: Final = 'model=~"$model"'
OF: Final = 'name=~"$agent"'


def _times(metric: str) -> tuple[Query, ...]:
    return (
        Query(quantile(0.5, metric, "model", CHOSEN, OF), "p50 {{model}}", exemplars=True),
        Query(quantile(0.95, metric, "model", CHOSEN, OF), "p95 {{model}}"),
    )


PAGE: Final = dashboard(
    "models",
    "models",
    "Speech to text, language model, text to speech: time, failures, queues.",
    [REGION, AGENT, MODEL, CONSOLE, TRACES],
    [
        Row(
            "Time",
            (
                Panel(
                    "Speech to text",
                    "One transcription.",
                    _times("antiphon_model_stt_seconds"),
                    unit="s",
                    steps=((1, "orange"),),
                ),
                Panel(
                    "Language model: first token",
                    "From the request. The first request after a pause may load the model.",
                    _times("antiphon_model_llm_first_token_seconds"),
                    unit="s",
                    steps=((1.5, "orange"),),
                ),
                Panel(
                    "Text to speech: first audio",
                    "From the text.",
                    _times("antiphon_model_tts_first_audio_seconds"),
                    unit="s",
                    steps=((0.5, "orange"),),
                ),
            ),
        ),
        Row(
            "Load and failures",
            (
                Panel(
                    "Requests",
                    "",
                    (Query(rate("antiphon_model_requests_total", "kind, model", CHOSEN, OF), "{{kind}} {{model}}"),),
                    unit="reqps",
                ),
                Panel(
                    "Failures",
                    "The log of the bridge names the server and its answer.",
                    (
                        Query(
                            f"{rate('antiphon_model_failures_total', 'kind, model', CHOSEN, OF)} or vector(0)",
                            "{{kind}} {{model}}",
                        ),
                    ),
                    unit="reqps",
                    steps=((0.1, "red"),),
                ),
                Panel(
                    "Jobs that run",
                    "`threads`: of the pool that computes.",
                    (Query(total("antiphon_model_busy", "kind", process=OF), "{{kind}}"),),
                ),
                Panel(
                    "Jobs that wait",
                    "More than a few for long: more cores, a second bridge or a worker elsewhere.",
                    (Query(total("antiphon_model_queue_length", "kind", process=OF), "{{kind}}"),),
                    steps=((4, "orange"),),
                ),
                Panel(
                    "CPU of bridges and workers",
                    "1 is one core.",
                    (
                        Query(
                            rate(
                                "antiphon_process_cpu_seconds_total",
                                "job, instance",
                                process='service=~"inference-bridge|worker", name=~"$agent"',
                            ),
                            "{{job}} {{instance}}",
                        ),
                    ),
                ),
            ),
        ),
    ],
)
