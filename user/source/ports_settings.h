/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of ports must know before they are loaded, and which namespaces are looked at. Inside the layer.
 */
#ifndef SOURCE_PORTS_SETTINGS_H
#define SOURCE_PORTS_SETTINGS_H

#include "abi.h"
#include "source/ports.h"
#include "target/netns.h"

/* 0 or a negative errno, printed. */
int ports_settings_fill(const struct ports_options *opt, struct ports_settings *set);
/* Log2 of how many jiffies a slot of the timer wheel is wide at such a distance: levels are 8 times wider each (kernel/time/timer.c). */
uint32_t ports_wheel_shift(uint64_t jiffies);

/* Those that are looked at, as they are now. As netns_list_all(), netns_list_path(), netns_list_pid(). */
int ports_namespaces(const struct ports_options *opt, struct netns_list **ret);
/* Says why they cannot be; returns err. */
int ports_namespaces_error(const struct ports_options *opt, int err);

#endif
