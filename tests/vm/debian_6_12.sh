#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# Debian 12's newer kernel: uprobe.multi, no sessions.
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/lib.sh"
META=linux-image-6.12-cloud-amd64
REFUSES=leak_session
WAYS='multi perf'
. "$(dirname "$0")/kernel.sh"
