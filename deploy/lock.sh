#!/usr/bin/env bash
# Pin the requirements with their hashes: requirements.lock for development, deploy/requirements/ for the images.
# Usage: deploy/lock.sh SERVICE...
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null; then
    echo "make lock needs uv on the PATH: pip install uv" >&2
    exit 1
fi
export UV_CUSTOM_COMPILE_COMMAND="make lock"
compile() {
    uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url "$@"
}
# dev is everything but pipecat, which wants older versions of what we have.
compile --extra dev -o requirements.lock pyproject.toml
mkdir -p deploy/requirements
# Without PyAV: its wheels carry codecs under the GPL, and no service uses it (antiphon.runtime.absent_pyav). So the images
# install with --no-deps what is listed, which is all the rest.
# The images take the versions that the tests ran with: the lock is their constraint.
grep -E '^[a-z0-9].*==' requirements.lock | sed 's/ \\$//' >deploy/requirements/.versions
for service in "$@"; do
    compile --extra "$service" -c deploy/requirements/.versions --no-annotate --no-emit-package av \
        -o "deploy/requirements/$service.txt" pyproject.toml
done
# The voices of the extra, which no image has: `make voices` installs them with their hashes.
compile --extra voices -c deploy/requirements/.versions --no-deps --no-annotate -o deploy/requirements/voices.txt pyproject.toml
echo 'hatchling' | compile -c deploy/requirements/.versions --no-annotate -o deploy/requirements/build.txt -
rm deploy/requirements/.versions
