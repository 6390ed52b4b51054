#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 2400
# A hundred attach/detach cycles on redis under load; cycles_many.sh has the other two hundred.
CYCLES=100 exec "$(dirname "$0")/../cycles.sh"
