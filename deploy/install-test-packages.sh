#!/usr/bin/env bash
# Install the system packages of test-packages.txt that are missing. Tests that lack them fail, so that is said here.
set -euo pipefail
cd "$(dirname "$0")"

mapfile -t wanted < <(grep -Ev '^(#|$)' test-packages.txt)
missing=()
for package in "${wanted[@]}"; do
    command -v "$package" >/dev/null && continue # npm often comes with a nodejs of another origin
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

way_out="Install these packages yourself; until then the tests that use them fail: ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "This system has no apt-get. $way_out" >&2
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Not root, and sudo asks for a password. $way_out" >&2
        exit 0
    fi
    as_root=(sudo)
fi
echo "Setting up: installing ${missing[*]}"
# RUNLEVEL=1 keeps packages from starting services.
options=(-o Dpkg::Use-Pty=0 -qq)
if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get "${options[@]}" update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get "${options[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null; } </dev/null; then
    echo "apt-get could not install them. $way_out" >&2
fi
