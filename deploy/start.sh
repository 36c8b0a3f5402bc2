#!/bin/sh
# Starts a module in a container: start MODULE [ARGUMENTS].
# ANTIPHON_COLLECTOR is where traces go if its host has an address now. compose cannot say by a variable that the profile
# `observe` is on, but only then does the collector have a name. Without one the service makes no tracer. Docker answers
# for the name itself, in milliseconds (`dns_opt` in compose.yaml); elsewhere a name server that does not answer costs 2 s.
# A health check (--check) asks for nothing.
if [ -z "${OTEL_EXPORTER_OTLP_ENDPOINT:-}${OTEL_EXPORTER_OTLP_TRACES_ENDPOINT:-}" ] && [ -n "${ANTIPHON_COLLECTOR:-}" ] && [ "${2:-}" != --check ]; then
    host=${ANTIPHON_COLLECTOR#*://}
    host=${host%%[:/]*}
    if timeout 2 getent hosts "$host" >/dev/null 2>&1; then
        # Traces only: Prometheus scrapes the metrics.
        export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="$ANTIPHON_COLLECTOR/v1/traces"
    fi
fi
exec python -m "$@"
