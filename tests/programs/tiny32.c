/* SPDX-License-Identifier: GPL-2.0-only */
/* A 32-bit x86 process that sleeps for ever. Built without any library, so no 32-bit one is needed. */
void _start(void);

void _start(void)
{
	for (;;) {
		int ret;

		__asm__ volatile("int $0x80" : "=a"(ret) : "a"(29) : "memory");	/* pause */
	}
}
