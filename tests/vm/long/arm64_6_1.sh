#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 480
# Debian 12's own kernel on arm64; a CPU that signs no return addresses.
SERIES=6.1
SUITES='bookworm bookworm-security'
CPU=cortex-a72
REFUSES='leak_session ports_udp'
. "$(dirname "$0")/../arm64.sh"
