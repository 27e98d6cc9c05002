#!/bin/sh
# run.sh [--broker gregor|kafka] [--groups] [other flags] [suite...]: installs, builds, runs. See README.md.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${GREGOR_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gregor-interop}
export GREGOR_INTEROP_CACHE="$cache"

sh "$here/setup.sh" || { echo "0 passed, 1 failed"; exit 1; }
(cd "$here" && CGO_ENABLED=0 go build -o "$cache/interop" .) || { echo "0 passed, 1 failed"; exit 1; }
exec "$cache/interop" --cache "$cache" --interop "$here" --root "$root" "$@"
