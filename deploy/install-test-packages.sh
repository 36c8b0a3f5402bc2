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
./install-packages.sh "${missing[@]}" ||
    echo "Install these packages yourself; until then the tests that use them fail: ${missing[*]}" >&2
