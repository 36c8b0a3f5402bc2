#!/usr/bin/env bash
# Make .venv with the pinned requirements and this project in it. Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.antiphon-set-up
wanted=$(cat requirements.lock pyproject.toml | sha256sum)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

# The newest Python is not the first choice: the pinned wheels exist for 3.11 first of all.
python=
for candidate in python3.11 python3.12 python3.13 python3 python; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$(command -v "$candidate")
        break
    fi
done
if [ -z "$python" ]; then
    echo "Antiphon needs Python 3.11 or newer and found none on the PATH. On Debian: apt-get install python3 python3-venv" >&2
    exit 1
fi

if [ ! -x .venv/bin/python ]; then
    echo "Setting up: .venv with $("$python" --version)"
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "$python cannot make virtual environments. On Debian: apt-get install python3-venv" >&2
        exit 1
    fi
fi

echo "Setting up: installing the pinned requirements (speech models included, about 500 MB; the first time takes minutes)"
if ! .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock |
    sed -un -e '/^Requirement already/d' -e '/^Collecting/p' -e '/^Installing/p' -e '/^ERROR/p' \
        -e 's/^  Downloading \(.*\)/  \1/p'; then
    echo "Installing the requirements failed: see the lines above. Is the package index reachable?" >&2
    exit 1
fi
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
echo "$wanted" >"$stamp"
echo "Setting up: done"
