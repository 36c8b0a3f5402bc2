# For set-up.sh, which sources it: choose a Python that the pinned requirements have wheels for, or say why none will do.
# shellcheck shell=bash

SUPPORTED=(3.11 3.12 3.13) # in this order; pyproject.toml has the same range as requires-python
IN_WORDS="Python 3.11, 3.12 or 3.13"

# Prints "3.12 3.12.1 usable|<what it lacks> <path>". The path is the interpreter itself: what stands on the PATH may belong
# to the very .venv that is about to be replaced.
ask_python() {
    "$1" -c '
import importlib.util, sys, sysconfig
lacks = (
    "other" if sys.implementation.name != "cpython"
    else "gil" if sysconfig.get_config_var("Py_GIL_DISABLED")
    else "venv" if not all(map(importlib.util.find_spec, ("venv", "ensurepip")))
    else "usable"
)
two, three = (".".join(map(str, sys.version_info[:n])) for n in (2, 3))
print(two, three, lacks, getattr(sys, "_base_executable", sys.executable))
' 2>/dev/null
}

is_supported() {
    [[ " ${SUPPORTED[*]} " == *" $1 "* ]]
}

# Sets `python` and `python_version`, or explains and returns 1. The variable PYTHON names one that is to be taken.
choose_python() {
    local candidates candidate answer two three lacks path
    local found=() no_venv=()
    if [ -n "${PYTHON:-}" ]; then
        candidates=("$PYTHON")
        command -v "$PYTHON" >/dev/null || {
            echo "PYTHON is '$PYTHON', and there is no such program. Name one of $IN_WORDS, or leave it unset." >&2
            return 1
        }
    else
        # the supported ones first; the others only to say what is there, and the one that .venv was made with
        mapfile -t candidates < <(
            printf 'python%s\n' "${SUPPORTED[@]}" && echo python3 && echo python
            compgen -c python3. | grep -E '^python3\.[0-9]+t?$' | sort -u
            echo .venv/bin/python
        )
    fi
    for candidate in "${candidates[@]}"; do
        # what can't be run is as good as not there (a version manager's placeholder for a version that is not chosen)
        answer=$(command -v "$candidate" >/dev/null && ask_python "$candidate") || continue
        read -r two three lacks path <<<"$answer"
        if ! is_supported "$two"; then
            found+=("$candidate is $three")
        elif [ "$lacks" = other ]; then
            found+=("$candidate is not CPython")
        elif [ "$lacks" = gil ]; then
            found+=("$candidate is a build without the GIL, for which there are no wheels")
        elif [ "$lacks" = venv ]; then
            found+=("$candidate is $three without the modules venv and ensurepip")
            no_venv+=("$two")
        else
            python=$path python_version=$two
            return 0
        fi
    done
    explain "${PYTHON:+PYTHON is $PYTHON: }" "${no_venv[0]:-}" "${found[@]}"
    return 1
}

# $1: how the sentence begins; $2: a version that lacks its venv module alone; the rest: what was found.
explain() {
    local prefix=$1 no_venv=$2 packages
    shift 2
    local listed
    listed=$(printf '%s\n' "$@" | awk 'NF && !seen[$0]++' | paste -sd ';' | sed 's/;/; /g')
    echo "Antiphon needs $IN_WORDS. ${prefix}${listed:-No Python was found on the PATH.}" >&2
    if command -v apt-get >/dev/null; then
        if [ -n "$no_venv" ]; then
            packages="python$no_venv-venv"
        else
            packages=$(packages_with_python)
        fi
        if [ -n "$packages" ]; then
            echo "This system has it in its packages: apt-get update && apt-get install $packages" >&2
            python_packages=$packages
            return
        fi
        echo "The package lists of this system have none of them; after apt-get update there may be one." >&2
    fi
    echo "Install one of them from your system's packages or from python.org. One that is not on the PATH is named by the" \
        "variable PYTHON: make run PYTHON=/opt/python3.12/bin/python3.12" >&2
}

# The first supported Python that apt knows of, with what makes virtual environments; empty if there is none.
packages_with_python() {
    local version
    for version in "${SUPPORTED[@]}"; do
        if apt-cache policy "python$version-venv" 2>/dev/null | grep -E '^ *Candidate: [^(]' >/dev/null; then # all of it read: else apt-cache fails
            echo "python$version python$version-venv"
            return
        fi
    done
}
