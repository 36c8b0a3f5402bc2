#!/usr/bin/env bash
# Install system packages without asking. Usage: install-packages.sh PACKAGE...; exits with 1, and says why, if it can't.
set -euo pipefail

if ! command -v apt-get >/dev/null; then
    echo "This system has no apt-get." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Not root, and sudo asks for a password." >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Setting up: installing $*"
# RUNLEVEL=1 keeps packages from starting services. Another apt-get that runs at the same time is waited for.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -qq)
"${apt[@]}" update </dev/null || echo "apt-get update failed; trying with the package lists that are there" >&2
if ! "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >/dev/null; then
    echo "apt-get could not install them." >&2
    exit 1
fi
