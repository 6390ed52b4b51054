#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 1800
# Each fuzz target for two minutes.
EBB_FUZZ_SECONDS=${EBB_FUZZ_SECONDS:-120} exec "$(dirname "$0")/../fuzz.sh"
