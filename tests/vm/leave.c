/* SPDX-License-Identifier: GPL-2.0-only */
/* leave CODE: ends the emulated machine with a code, through qemu's isa-debug-exit at port 0xf4. */
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
	if (iopl(3))
		return 1;
	outl(argc > 1 ? atoi(argv[1]) : 0, 0xf4);
	return 1;
}
