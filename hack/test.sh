#!/usr/bin/env bash
# hack/test.sh: everything that has to hold before a change is merged; `make test` and CI run it.
#
# Does its own set-up. Runs all phases even when one fails, says how long each took, and ends with
# the line `N passed, N failed, N skipped`. A check that isn't a test counts only when it fails.
set -uo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
export RT_SKIP_LOG=$work/skipped
: >"$RT_SKIP_LOG"
failed_checks=0

# phase NAME COMMAND…
phase() {
    local name=$1 started=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        printf '==> %s: ok, %d s\n' "$name" $((SECONDS - started))
    else
        printf '==> %s: FAILED, %d s\n' "$name" $((SECONDS - started))
        return 1
    fi
}

check() {
    phase "$@" || failed_checks=$((failed_checks + 1))
}

skip_check() {
    printf 'SKIPPED: %s: %s\n' "$1" "$2" | tee --append "$work/skipped-checks" >&2
}

each_crate_alone() {
    # A build of the workspace unifies features and would hide that a crate misses one.
    local manifest
    for manifest in */Cargo.toml; do
        cargo check --locked --quiet --manifest-path "$manifest" || return 1
    done
}

run_tests() {
    cargo test --locked --workspace --no-fail-fast 2>&1 | tee --append "$work/tests"
}

explore_coordination() {
    # Optimised: in the workspace's tests the same exploration has one fault.
    cargo test --locked --config core/tests/coordination/optimised.toml --package realtime-core --test coordination -- --nocapture 2>&1 |
        tee --append "$work/tests"
}

disk() {
    # Of a first run: 6 GB below target, 8 GB in Go's caches and ours, and room for the tests' nodes.
    local free
    free=$(df --output=avail --block-size=G . | tail --lines 1 | tr --delete ' G')
    printf '%s GB are free\n' "$free"
    if [ "$free" -lt 16 ]; then
        printf 'WARNING: a first run needs 16 GB; with fewer it may end with "No space left on device"\n'
    fi
}

programs() {
    # Those of a real node too: built inside a test they would look like a test that hangs.
    cargo run --locked --quiet --package realtime-testing --bin programs all
}

phase 'disk' disk
for setup in 'Debian packages:hack/setup.sh test' 'Kubernetes, containerd, CRI-O:programs'; do
    # shellcheck disable=SC2086 # a command and its argument
    if ! phase "${setup%%:*}" ${setup#*:}; then
        printf '\nwithout this nothing can be tested\n0 passed, 1 failed, 0 skipped\n'
        exit 1
    fi
done
check 'format' cargo fmt --all --check
check 'clippy' cargo clippy --locked --quiet --workspace --all-targets -- --deny warnings
check 'each crate alone' each_crate_alone
check 'walls between the crates' hack/walls.sh
if command -v cargo-deny >/dev/null; then
    # Advisories need the network: `make audit`.
    check 'licences, bans, sources' cargo deny --locked check licenses bans sources
else
    skip_check 'licences, bans, sources' 'cargo-deny is not installed (cargo install cargo-deny)'
fi
tests_passed=0
phase 'tests' run_tests || tests_passed=1
phase 'the coordination, explored exhaustively' explore_coordination || tests_passed=1

# sum WORD: over libtest's lines `test result: ok. 3 passed; 0 failed; …`
sum() {
    grep '^test result: ' "$work/tests" | grep --only-matching "[0-9]* $1;" | awk '{ n += $1 } END { print n + 0 }'
}
skipped_tests=$(wc --lines <"$RT_SKIP_LOG")
skipped_checks=$(cat "$work/skipped-checks" 2>/dev/null | wc --lines)
passed=$(($(sum passed) - skipped_tests)) # libtest takes a skipped test for a passed one
failed=$(sum failed)
if [ "$tests_passed" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 # they don't compile, or a test binary was killed
fi
failed=$((failed + failed_checks))

printf '\nall of it: %d s\n' "$SECONDS"
if [ $((skipped_tests + skipped_checks)) -gt 0 ]; then
    cat "$RT_SKIP_LOG" "$work/skipped-checks" 2>/dev/null
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" $((skipped_tests + skipped_checks))
[ "$failed" -eq 0 ]
