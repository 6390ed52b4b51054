#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 420
# The first with sessions that Debian's backports have for long: every way of attaching.
SERIES=6.18
SUITES='trixie-backports'
REFUSES=''
WAYS='session multi perf'
. "$(dirname "$0")/../kernel.sh"
