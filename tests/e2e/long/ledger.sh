#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 2400
# The ledger with ten times the operations: rare races, books that flip while everything moves.
LEDGER_OPS=20000000 exec "$(dirname "$0")/../ledger.sh"
