/* SPDX-License-Identifier: GPL-2.0-only */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "source/ports_failure.h"

void ports_say_failure(const struct ports *model, const struct ports_failure_event *e)
{
	static const char *const what[] = { [PORTS_FAILURE_CONNECT] = "no port left",
					    [PORTS_FAILURE_COLLISION] = "port taken",
					    [PORTS_FAILURE_UDP] = "no UDP port left" };
	char local[PORTS_ADDR_MAX], remote[PORTS_ADDR_MAX], comm[sizeof(e->comm) + 1], searched[64] = "";
	struct ports_addr from, to;
	int64_t wall_ns;
	time_t seconds;
	struct tm tm;
	char *safe;

	if (log_get_level() < LOG_DEBUG || e->what >= sizeof(what) / sizeof(what[0]))
		return;
	memcpy(from.bytes, e->local, sizeof(from.bytes));
	memcpy(to.bytes, e->remote, sizeof(to.bytes));
	if (e->local_port)
		ports_endpoint_text(local, &from, e->local_port);
	else
		ports_addr_text(local, &from);
	ports_endpoint_text(remote, &to, e->remote_port);
	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(e->comm), e->comm);
	safe = text_safe(comm);
	wall_ns = model->start_wall_ns + (int64_t)(e->time_ns - model->start_ns);
	seconds = wall_ns / 1000000000;
	localtime_r(&seconds, &tm);
	if (e->search_ns)
		snprintf(searched, sizeof(searched), " (searched %.1f ms)", e->search_ns / 1e6);
	log_info("%02d:%02d:%02d.%03d %s: %s[%u] %s -> %s, %s%s", tm.tm_hour, tm.tm_min, tm.tm_sec,
		 (int)(wall_ns / 1000000 % 1000), what[e->what], safe ? safe : "", e->pid, local, remote,
		 e->what == PORTS_FAILURE_UDP ? "EAGAIN" : "EADDRNOTAVAIL", searched);
	free(safe);
}
