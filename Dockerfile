# The image of one service: docker build --build-arg SERVICE=relay .
# SERVICE is a directory below services/. Plain instructions only, so that any builder takes it.

# Writes the keys that compose.yaml shares between services. Needs nothing but the standard library.
FROM python:3.11-slim AS keys
COPY cli/antiphon/cli/keys.py /keys.py
ENTRYPOINT ["python", "/keys.py"]

FROM python:3.11-slim AS wheel
ARG SERVICE
COPY deploy/requirements/build.txt /tmp/build.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY schemas ./schemas
COPY libs ./libs
COPY demo ./demo
COPY services/${SERVICE} ./services/${SERVICE}
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11-slim
ARG SERVICE
COPY deploy/requirements/${SERVICE}.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl && rm -rf /tmp/wheels
# The module of inference-bridge is antiphon.inference_bridge.
RUN echo "exec python -m antiphon.$(echo ${SERVICE} | tr - _) \"\$@\"" > /usr/local/bin/service && chmod 755 /usr/local/bin/service
ENV PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=8s --start-period=120s --retries=3 CMD ["/bin/sh", "/usr/local/bin/service", "--check"]
ENTRYPOINT ["/bin/sh", "/usr/local/bin/service"]
