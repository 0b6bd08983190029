#!/usr/bin/env bash
# hack/walls.sh: the walls between the crates hold (architecture: core depends on no client and no
# runtime, the shells never on each other), and all use one cryptography (docs/decisions/tls.md). Reads the dependency graph only.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0

# must_not PACKAGE FORBIDDEN…: none of these is among the package's dependencies.
must_not() {
    local package=$1 tree forbidden
    shift
    tree=$(cargo tree --locked --package "$package" --edges normal --prefix none --format '{p}')
    for forbidden in "$@"; do
        if grep --quiet "^$forbidden v" <<<"$tree"; then
            printf '%s must not depend on %s\n' "$package" "$forbidden" >&2
            failed=1
        fi
    done
}

must_not realtime-core tokio kube-client kube-runtime hyper
must_not realtime-operator oc-realtime realtime-node-daemon realtime-testing ring openssl-sys
must_not oc-realtime realtime-operator realtime-node-daemon realtime-testing ring openssl-sys
must_not realtime-node-daemon realtime-operator oc-realtime realtime-testing ring openssl-sys
exit $failed
