#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# beside: computing
# Debian 12's newer kernel: uprobe.multi, no sessions.
SERIES=6.12
SUITES='bookworm bookworm-security'
REFUSES='leak_session'
WAYS='multi perf'
. "$(dirname "$0")/kernel.sh"
