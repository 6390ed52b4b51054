#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 2400
# Three hundred attach/detach cycles on redis under load.
CYCLES=300 exec "$(dirname "$0")/../cycles.sh"
