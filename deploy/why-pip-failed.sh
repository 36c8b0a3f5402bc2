#!/usr/bin/env bash
# Say in a line or two why pip, or venv, failed: the cause and the way out. Usage: why-pip-failed.sh LOG PYTHON-VERSION
# Words that stand for one cause alone are looked for first, then the network (of an index that it can't reach pip says
# in the end that there is no such package), then the rest.
set -euo pipefail
log=$1 version=$2

# The line of the log that has the pattern, cut to a readable length.
line() {
    grep -m 1 -E "$1" "$log" | sed -E 's/^ *((ERROR|WARNING): )?//' | cut -c 1-400
}

say() {
    echo "Setting up failed: $*"
    echo "All that was said is in $log; the next make run or make test tries again."
    exit 0
}

# Without retries pip says nothing of an index that it can't reach: ask again for what it has not found.
if requirement=$(grep -m 1 -oP 'satisfies the requirement \K\S+(?= \(from versions: none\))' "$log"); then
    .venv/bin/python -m pip download -vv --disable-pip-version-check --no-input --no-deps --retries 0 --timeout 10 \
        --dest "$(mktemp -d)" "$requirement" </dev/null >>"$log" 2>&1 || true
fi

# On a full disk the log may have no room for the words.
least_mb=$(df -Pm "$(dirname "$log")" "${TMPDIR:-/tmp}" 2>/dev/null | awk 'NR > 1 && (least == "" || $4 < least) { least = $4 } END { print least }')
if [ "${least_mb:-99}" -lt 5 ] || line 'No space left on device|Errno 28|[Dd]isk quota exceeded' >/dev/null; then
    say "no space left. The requirements take 1.3 GB in $PWD/.venv, and 0.6 GB while they are installed in" \
        "${TMPDIR:-/tmp} (TMPDIR) and in pip's cache ($(df -Ph . "${TMPDIR:-/tmp}" 2>/dev/null |
            awk 'NR > 1 { printf "%s%s free of %s", (NR > 2 ? ", " : ""), $4, $6 }'))."
elif line 'externally-managed|ensurepip is not available' >/dev/null; then
    say "this Python can't make virtual environments. On Debian and Ubuntu: apt-get install python$version-venv"
elif line 'DO NOT MATCH THE HASHES' >/dev/null; then
    say "a file is not the pinned one: $(line 'from https?:|from file:|^ {4}[a-z0-9_.-]+==' | head -n 1)" \
        "The index, a mirror or pip's cache has changed it (pip cache purge empties the cache)."
elif line 'different python version|Requires-Python|requires a different Python|requires Python' >/dev/null; then
    say "a pinned package excludes Python $version: $(line 'Requires-Python|requires a different Python|requires Python|No matching distribution found for' | head -n 1)" \
        "Take another Python (make run PYTHON=python3.11), and tell Antiphon's developers: this one should work."
elif line 'Permission denied|Read-only file system|Errno 13' >/dev/null; then
    say "$(line 'Permission denied|Read-only file system|Errno 13'). Can $(id -un) write to $PWD?"
elif line 'CERTIFICATE_VERIFY_FAILED|SSLError' >/dev/null; then
    say "the package index's certificate is not accepted. Behind a proxy that opens TLS, name its certificate:" \
        "PIP_CERT=/path/to/ca.pem"
elif line 'Connection broken|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|Max retries exceeded|Name or service not known|name resolution|Network is unreachable|Connection refused|RemoteDisconnected|IncompleteRead|connection broken' >/dev/null; then
    say "the package index can't be reached: $(line "NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|IncompleteRead|RemoteDisconnected|name resolution|Network is unreachable|Connection refused|[Cc]onnection broken|Max retries exceeded" | head -n 1)" \
        "Is this machine online, and are its proxy (HTTPS_PROXY) and index (pip config list) right?"
elif line '(HTTP error|HTTPError:?) [45][0-9][0-9]|[45][0-9][0-9] (Client|Server) Error' >/dev/null; then
    say "the package index refuses: $(line '(HTTP error|HTTPError:?) [45][0-9][0-9]|[45][0-9][0-9] (Client|Server) Error')"
elif line 'subprocess-exited-with-error|[Ff]ailed building wheel|Failed to build|metadata-generation-failed' >/dev/null; then
    say "a package has no wheel for Python $version on $(uname -sm), and can't be built here: $(line 'Failed to build|[Ff]ailed building wheel|× .*|error: subprocess' | head -n 1)"
elif line 'No matching distribution found for|Could not find a version' >/dev/null; then
    say "the package index has no file for Python $version on $(uname -sm): $(line 'No matching distribution found for|Could not find a version' | tail -n 1)" \
        "A mirror may lack it: pip config list names the index."
else
    say "$(grep -vE '^\s*$' "$log" | tail -n 1 | cut -c 1-300)"
fi
