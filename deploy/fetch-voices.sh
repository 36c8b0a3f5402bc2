#!/usr/bin/env bash
# Fetch the styles of Kokoro's voices, 27 MB, out of a package of npm, into the cache of the bridge.
# Each file's SHA-256 is checked again before it is loaded (antiphon.inference_bridge.models.kokoro_source).
set -euo pipefail

package=kokoro-js@1.2.1
sha256=1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860
cache="${ANTIPHON_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/antiphon}"
target="$cache/${package/@/-}"

if [ -d "$target" ]; then
    echo "the voices are in $target already"
    exit 0
fi
if ! command -v npm >/dev/null; then
    echo "fetch-voices: npm is not on the PATH: install it (Debian: apt install npm), or unpack voices/*.bin of the" \
        "package $package into $target" >&2
    exit 1
fi
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm pack --silent "$package" >/dev/null)
echo "$sha256  $scratch/${package/@/-}.tgz" | sha256sum --check --quiet || {
    echo "fetch-voices: $package is not the tested file; nothing was unpacked" >&2
    exit 1
}
mkdir -p "$scratch/voices" "$cache"
tar -xzf "$scratch/${package/@/-}.tgz" -C "$scratch/voices" --strip-components=2 package/voices
chmod 755 "$scratch/voices"
mv "$scratch/voices" "$target"
echo "the voices are in $target"
