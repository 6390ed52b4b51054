/* SPDX-License-Identifier: GPL-2.0-only */
/* Machine code written down as hexadecimal, for tests of elf/insn.h. */
#ifndef CODE_BYTES_H
#define CODE_BYTES_H

#include <stdlib.h>
#include <string.h>

#define VA 0x401000

/* The bytes, exactly as long as they are, so that the sanitizer sees a read past them. */
static unsigned char *bytes_parse(const char *hex, size_t *ret_len)
{
	unsigned char *bytes = malloc(strlen(hex) / 2 + 1), *exact;
	size_t len = 0;

	while (bytes && *hex) {
		if (*hex == ' ') {
			hex++;
			continue;
		}
		bytes[len++] = strtoul((char[]){ hex[0], hex[1], 0 }, NULL, 16);
		hex += 2;
	}
	exact = malloc(len ? len : 1);
	if (!bytes || !exact)
		abort();
	memcpy(exact, bytes, len);
	free(bytes);
	*ret_len = len;
	return exact;
}

#if defined(__x86_64__)
#define X86_ONLY
#else
#define X86_ONLY TEST_SKIP("sites are looked for on x86-64 only")
#endif

#endif
