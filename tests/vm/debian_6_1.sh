#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# Debian 12's own kernel: no uprobe.multi (it loads, and refuses to attach), no sessions, no kfuncs that UDP needs.
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/lib.sh"
META=linux-image-cloud-amd64
REFUSES='leak_session ports_udp'
WAYS=perf
. "$(dirname "$0")/kernel.sh"
