#!/usr/bin/env bash
# hack/setup.sh [build|test]: the Debian packages that a build, or the tests besides, need.
#
# Says what it does; installs only what is missing. Must not change anything else on the machine.
# Go and Rust are not Debian's (too old): it only says where to get them.
set -euo pipefail

for_build=(gcc libc6-dev make util-linux)
# The real programs that the tests compare our output with.
for_test=(tuned ignition)
# Plain rpm hosts and package sources: tiny packages are built, installed and read by the real programs.
for_test+=(dnf rpm createrepo-c podman)
# The real node (testing/src/real_node.rs): runc and CRI-O link to libseccomp, CRI-O starts conmon for
# each container, skopeo puts images into its storage, kube-proxy calls nft, the test images hold busybox.
for_test+=(pkg-config libseccomp-dev conmon skopeo nftables iproute2 busybox-static)
# The machine with a real PREEMPT_RT kernel (testing/src/vm.rs); its kernel is downloaded, and not installed.
for_test+=(qemu-system-x86 busybox-static)

wanted=("${for_build[@]}")
if [ "${1:-test}" = test ]; then
    wanted+=("${for_test[@]}")
fi

say() { printf '[setup] %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
    say "cargo is missing: install Rust with rustup (https://rustup.rs); rust-toolchain.toml names the version"
    exit 1
fi
if [ -z "${KUBEBUILDER_ASSETS:-}" ] && ! command -v go >/dev/null; then
    say "go is missing: install Go 1.26 or later (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a"
    say "directory with etcd, kube-apiserver and kubectl"
    exit 1
fi

if ! command -v dpkg-query >/dev/null; then
    say "this is no Debian: nothing is installed here. Needed, by their names on Debian: ${wanted[*]}"
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    if [ "$status" != installed ]; then
        missing+=("$package")
    fi
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        say "missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}"
        exit 1
    fi
    as_root=(sudo)
fi

say "installing Debian packages: ${missing[*]}"
started=$SECONDS
"${as_root[@]}" apt-get update --quiet=2 >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends --quiet=2 --option Dpkg::Use-Pty=0 "${missing[@]}" >&2
if [[ " ${missing[*]} " == *" tuned "* ]] && [ -d /run/systemd/system ]; then
    # Only its program is wanted; the service would tune this machine.
    say "switching off the tuned service, which the package has just enabled"
    "${as_root[@]}" systemctl disable --now --quiet tuned.service
fi
say "installed, $((SECONDS - started)) s"
