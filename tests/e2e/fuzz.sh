#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Each fuzz target (tests/fuzz) for 10 seconds, or EBB_FUZZ_SECONDS. No root.
. "$(dirname "$0")/lib.sh"
seconds=${EBB_FUZZ_SECONDS:-10}
targets=("$ROOT"/tests/fuzz/*.c)
export FUZZERS=${FUZZERS:-$(dirname "$(dirname "$PROGRAMS")")/fuzz}
start fuzz "$ROOT/tests/fuzz/run" "$seconds"
wait_end fuzz $((${#targets[@]} * (seconds + 30)))
sed -nE 's/^(ok|not ok|skip) /&fuzz./p' "$WORK/fuzz.out"
show "$WORK/fuzz.err"
if [ "$STATUS" = hung ]; then
	not_ok fuzz "it does not end"
else
	is fuzz.targets "$(grep -cE '^(ok|not ok|skip) ' "$WORK/fuzz.out")" "${#targets[@]}"
	[ "$STATUS" = 0 ] || failed=1
fi
finish
