#!/usr/bin/env bash
# Make .venv with the pinned requirements and this project in it. Does nothing when it is there and whole.
# The variable PYTHON names the interpreter; without it the first one on the PATH that will do is taken.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/choose-python.sh
source deploy/choose-python.sh
# what would send packages elsewhere, or let other ones shine through
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_USER PIP_NO_DEPS PIP_REQUIRE_VIRTUALENV

stamp=.venv/.antiphon-set-up
# Three lines: a hash of what is to be installed, the Python, and the directory, which the scripts in .venv have in them.
wanted() {
    printf '%s\n%s\n%s' "$(cat requirements.lock pyproject.toml deploy/smart-turn.txt | sha256sum | cut -d ' ' -f 1)" "$1" "$PWD"
}

# What the Python of .venv says of its version; nothing if it can't be run (any more).
venv_version() {
    .venv/bin/python -c 'import sys; print(".".join(map(str, sys.version_info[:2])))' 2>/dev/null || true
}

is_set_up() {
    local present
    [ -f "$stamp" ] || return 1
    present=$(venv_version)
    [ "$(<"$stamp")" = "$(wanted "$present")" ] && [ -z "${PYTHON:-}" -o "$present" = "${python_version:-}" ]
}

# Why .venv can't be used or mended and has to be made anew; nothing if it can.
what_ails_venv() {
    local hash made_by made_in present
    if [ ! -f "$stamp" ]; then
        echo "its set-up was not finished"
        return
    fi
    { read -r hash && read -r made_by && { read -r made_in || true; }; } <"$stamp" || made_in=
    present=$(venv_version)
    if [ "$hash" = unfinished ]; then
        echo "its set-up was not finished"
    elif [ -z "$present" ]; then
        echo "its Python is gone"
    elif [ -z "$made_in" ]; then
        # a stamp of before it had three lines; the editable install tells where that was
        grep -qsF "$PWD/" .venv/lib/python"$present"/site-packages/*antiphon*.pth || echo "it was made in another directory"
    elif [ "$made_by" != "$present" ]; then
        echo "it was made by Python $made_by, and its Python is $present now"
    elif [ "$made_in" != "$PWD" ]; then
        echo "it was made in $made_in"
    fi
    if [ -n "$present" ] && ! is_supported "$present"; then
        echo "its Python is $present, and Antiphon needs $IN_WORDS"
    elif [ -n "$present" ] && [ -n "${PYTHON:-}" ] && [ "$present" != "$python_version" ]; then
        echo "its Python is $present, and PYTHON asks for $python_version"
    fi
}

# One set-up at a time in this directory: `make run` and `make test` may be started together. The lock is on an open file,
# and so ends with the last process that has it open, however that ends.
take_turns() {
    exec 9<requirements.lock
    "$python" - <<'P' || echo "Setting up: going on without a lock; don't set up twice at the same time" >&2
import fcntl
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Setting up: waiting for another set-up of this directory", flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
P
}

# Runs pip with the arguments, shows what matters, and says in one line what went wrong.
install() {
    local log=.venv/set-up.log
    if ! .venv/bin/python -m pip install --disable-pip-version-check --no-input "$@" 2>&1 | tee "$log" |
        sed -un -e '/^Collecting/p' -e '/^Installing/p' -e '/^ERROR/p' -e '/^WARNING: Retrying/p' -e '/^error/p' \
            -e 's/^  Downloading \(.*\)/  \1/p'; then
        deploy/why-pip-failed.sh "$log" "$python_version" >&2
        exit 1
    fi
}

[ -z "${PYTHON:-}" ] && is_set_up && exit 0
python_packages=
if ! choose_python; then
    # Continuous integration on a fresh machine has no user to do it.
    [ "${CI:-}" = true ] && [ -n "$python_packages" ] || exit 1
    read -ra packages <<<"$python_packages"
    deploy/install-packages.sh "${packages[@]}" && choose_python || exit 1
fi
is_set_up && exit 0
take_turns
is_set_up && exit 0 # by now

if [ -e .venv ] || [ -L .venv ]; then
    ails=$(what_ails_venv)
    if [ -n "$ails" ]; then
        echo "Setting up: making .venv anew: ${ails%%$'\n'*}"
        rm -rf .venv
    else
        python_version=$(venv_version)
    fi
fi
if [ ! -d .venv ]; then
    echo "Setting up: .venv with $("$python" --version) ($python)"
    mkdir .venv
    echo unfinished >"$stamp"
    if ! trouble=$("$python" -m venv .venv 2>&1); then
        { printf "%s\n" "$trouble" >.venv/set-up.log; } 2>/dev/null || true # the disk may be full
        deploy/why-pip-failed.sh .venv/set-up.log "$python_version" >&2
        exit 1
    fi
fi
echo unfinished >"$stamp"
echo "Setting up: installing the pinned requirements (speech models included, about 500 MB; the first time takes minutes)"
install --require-hashes -r requirements.lock
install --no-deps --no-build-isolation -e .
.venv/bin/python deploy/fetch-smart-turn.py
wanted "$(venv_version)" >"$stamp"
echo "Setting up: done"
