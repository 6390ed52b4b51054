#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# The newest kernel of Debian's backports. Its session kfuncs take the context, which leak_session.bpf.c does not give them.
SERIES=7
SUITES='trixie-backports'
REFUSES='leak_session'
WAYS='multi perf'
. "$(dirname "$0")/../kernel.sh"
