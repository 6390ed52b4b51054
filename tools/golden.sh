#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Rewrites tests/golden/ from what the writers make now. Read the diff before committing it.
set -e
cd "$(dirname "$0")/.."
make build/tests/unit/test_output
EBB_GOLDEN=write build/tests/unit/test_output
git --no-pager diff --stat -- tests/golden
