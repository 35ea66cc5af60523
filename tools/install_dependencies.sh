#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian 12 packages that are missing; does nothing, and needs no rights, when all are there.
# usage: tools/install_dependencies.sh [--test]     --test: also what ./test needs
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config                      # build
  libfmt-dev libsimdjson-dev nlohmann-json3-dev libyaml-cpp-dev libboost1.81-dev libpcre2-dev libutf8proc-dev libssl-dev libgtest-dev
  python3 python3-venv ca-certificates curl             # ./run: model download, first question
)
if [[ "${1:-}" == --test ]]; then
  packages+=(clang-14 clang-format-14 libclang-rt-14-dev llvm-14 binutils)  # sanitizers, fuzzers, lints
fi

is_installed() { [[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install_dependencies: this is not Debian; install the equivalents of: ${packages[*]}" >&2
  exit 0 # the build says what is missing
fi

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "install_dependencies: error: these packages are missing and there is no sudo; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "installing ${#missing[@]} Debian packages: ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}
if ! install >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install_dependencies: error: apt-get failed, see above" >&2
  exit 1
fi
