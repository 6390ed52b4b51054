#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# beside: computing
# Debian 12's own kernel: no uprobe.multi (it loads, and refuses to attach), no sessions, no kfuncs that UDP needs.
SERIES=6.1
SUITES='bookworm bookworm-security'
REFUSES='leak_session ports_udp'
WAYS='perf'
. "$(dirname "$0")/kernel.sh"
