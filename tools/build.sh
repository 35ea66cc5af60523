#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures and builds a preset, quietly: progress on stderr, everything in build/<preset>.log, its errors shown when it fails.
# usage: [CONFIGURE="-DNAME=VALUE..."] tools/build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
preset=$1
shift
log=build/$preset.log
mkdir -p build

fail() {
  grep -E -A 6 'error:|FAILED:|CMake Error' "$log" | head -n 60 >&2 || true
  echo "build of preset $preset failed; all of it is in $log" >&2
  exit 1
}

# "[12/340] Building..." becomes a percentage: one line that is overwritten on a terminal, a few lines elsewhere.
show_progress() {
  local line percent shown=-1
  while IFS= read -r line; do
    [[ "$line" =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
    percent=$((100 * BASH_REMATCH[1] / BASH_REMATCH[2]))
    if [[ -t 2 ]]; then
      [[ $percent -ne $shown ]] && printf '\rbuilding (%s): %d%% ' "$preset" "$percent" >&2
    elif [[ ${BASH_REMATCH[2]} -gt 10 && $((percent / 25)) -ne $((shown / 25)) ]]; then
      printf 'building (%s): %d%%\n' "$preset" "$percent" >&2
    fi
    shown=$percent
  done
  if [[ -t 2 && $shown -ge 0 ]]; then printf '\r\033[K' >&2; fi
}

if [[ ! -f build/$preset/build.ninja || -n "${CONFIGURE:-}" ]]; then
  # shellcheck disable=SC2086  # several options in one variable
  cmake --preset "$preset" ${CONFIGURE:-} >"$log" 2>&1 || fail
fi
targets=()
[[ $# -gt 0 ]] && targets=(--target "$@")
cmake --build --preset "$preset" "${targets[@]}" 2>&1 | tee "$log" | show_progress || fail
