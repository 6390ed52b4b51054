#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 3000
# Two hundred attach/detach cycles, spread over node, dotnet, python, nginx, a static and a stripped program.
CYCLES_EACH=34 exec "$(dirname "$0")/../cycles_many.sh"
