#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Rewrites tests/golden/ from what the writers make now. Read the diff before committing it.
set -e
cd "$(dirname "$0")/.."
for test in test_output test_ports_output; do
	make "build/tests/unit/$test"
	EBB_GOLDEN=write "build/tests/unit/$test"
done
git --no-pager diff --stat -- tests/golden
