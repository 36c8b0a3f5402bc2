#!/usr/bin/env bash
# Pin the base images to the digests that their registry gives now: writes deploy/images.env, which compose and CI use as
#   docker compose --env-file deploy/images.env up --build
# A tag may be moved to another image; a digest names one. Run it for a release and when a base image has a fix, and commit
# the file: its difference belongs in a review. `--check` asks no registry: it fails if a line has no digest.
set -euo pipefail
cd "$(dirname "$0")/.."
file=deploy/images.env

# name of the variable, and the tag that stands for it where nothing is pinned
images() {
    grep -ohE '\$\{ANTIPHON_[A-Z]+_IMAGE:-[^}]+\}' compose.yaml | sed -E 's/^..([A-Z_]+):-(.*).$/\1 \2/' | sort -u
}

if [ "${1:-}" = --check ]; then
    if [ ! -f "$file" ]; then
        echo "$file is not there: no base image is pinned to a digest. deploy/pin-images.sh writes it, where a registry is reached." >&2
        exit 1
    fi
    wrong=0
    while read -r name tag; do
        if ! grep -qE "^$name=${tag//./\\.}@sha256:[0-9a-f]{64}$" "$file"; then
            echo "$file: $name has to be $tag@sha256:..., as deploy/pin-images.sh writes it" >&2
            wrong=1
        fi
    done < <(images)
    exit "$wrong"
fi

if ! docker buildx version >/dev/null 2>&1; then
    echo "deploy/pin-images.sh needs docker with buildx: \`docker buildx imagetools\` asks the registry for digests" >&2
    exit 1
fi
pinned=
while read -r name tag; do
    # the digest of the index, which is the same for all processors
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$tag") || {
        echo "The registry did not give the digest of $tag: nothing was changed" >&2
        exit 1
    }
    if ! [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "The registry gave $digest for $tag, which is no digest: nothing was changed" >&2
        exit 1
    fi
    pinned+="$name=$tag@$digest"$'\n'
done < <(images)
printf '# Base images, by deploy/pin-images.sh. What each tag was on that day.\n%s' "$pinned" >"$file"
cat "$file"
