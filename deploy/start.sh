#!/bin/sh
# Starts a module in a container: start MODULE [ARGUMENTS].
# ANTIPHON_COLLECTOR is where traces go if its host has an address now. compose cannot say by a variable that the profile
# `observe` is on, but only then does the collector have a name. Without one the service makes no tracer. Docker answers
# for the name itself, in milliseconds (`dns_opt` in compose.yaml); elsewhere a name server that does not answer costs 2 s.
# A health check (--check) asks for nothing.
if [ -z "${OTEL_EXPORTER_OTLP_ENDPOINT:-}" ] && [ -n "${ANTIPHON_COLLECTOR:-}" ] && [ "${2:-}" != --check ]; then
    host=${ANTIPHON_COLLECTOR#*://}
    host=${host%%[:/]*}
    if timeout 2 getent hosts "$host" >/dev/null 2>&1; then
        export OTEL_EXPORTER_OTLP_ENDPOINT="$ANTIPHON_COLLECTOR"
    fi
fi
exec python -m "$@"
