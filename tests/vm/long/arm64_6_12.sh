#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 480
# Debian 12's newer kernel on arm64; the CPU signs return addresses (by a rule that is cheap to emulate).
SERIES=6.12
SUITES='bookworm bookworm-security'
CPU=max,pauth-impdef=on
REFUSES='leak_session'
. "$(dirname "$0")/../arm64.sh"
