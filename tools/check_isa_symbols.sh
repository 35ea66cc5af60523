#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An object built with ISA flags must not define weak symbols (inline functions, templates) outside its own
# namespace: the linker could pick that copy for the whole program and crash on an older CPU.
isa=$1
shift
leaks=$(nm -C --defined-only "$@" | awk '$2 ~ /^[VWuw]$/' | grep -v "::$isa::" | grep -v ' DW\.ref\| __asan\| __ubsan' || true)
[ -z "$leaks" ] && exit 0
echo "weak symbols compiled with $isa flags:"
echo "$leaks"
exit 1
