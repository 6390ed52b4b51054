/* SPDX-License-Identifier: GPL-2.0-only */
/* A call that got no port, as a line on stderr. Inside the layer. */
#ifndef SOURCE_PORTS_FAILURE_H
#define SOURCE_PORTS_FAILURE_H

#include "abi.h"
#include "profile/ports.h"

/* With -v only: time, who, from where to where, why. */
void ports_say_failure(const struct ports *model, const struct ports_failure_event *e);

#endif
