# SPDX-License-Identifier: GPL-2.0-only
# Test programs: included by the Makefile. One line a program that needs other flags than the rest.
programs:
