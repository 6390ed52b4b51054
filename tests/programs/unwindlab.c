/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stacks of every kind, without frame pointers, that stand still while others look at them.
 *
 *	unwindlab MODE [N]	prints `ready PID`; at a line on standard input it builds the stack of MODE and calls
 *				pause_here() on top of it, which prints `paused` and waits for another line
 *				(mode plt: on top of a PLT entry that was stopped at its byte N)
 *
 * What walks stacks at the entry of pause_here(), and gdb while it waits, must see the same callers.
 */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP() __asm__ volatile("" ::: "memory")	/* behind a call: so it is no jump */

static long depth = 20;

NOINLINE void pause_here(void)
{
	static char line[16];

	printf("paused\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

NOINLINE static void deep(long n)
{
	if (n > 1)
		deep(n - 1);
	else
		pause_here();
	KEEP();
}
static void mode_deep(void) { deep(depth); KEEP(); }

NOINLINE static void with_alloca(long n)
{
	char *p = alloca(n);

	memset(p, 1, n);
	KEEP();
	pause_here();
	__asm__ volatile("" :: "r"(p) : "memory");
}
static void mode_alloca(void) { with_alloca(depth * 100); KEEP(); }
static void mode_large(void) { with_alloca(100000); KEEP(); }

NOINLINE static int big_frame(int n)
{
	volatile char buf[9000];

	buf[n] = 1;
	pause_here();
	return buf[n];
}
static void mode_frame(void) { depth += big_frame(5); KEEP(); }

/* Its stack is aligned to more than the ABI gives: the CFA is kept in a slot. */
NOINLINE static int realigned(long n)
{
	volatile long wide[16] __attribute__((aligned(64)));
	char *p = alloca(n);

	wide[3] = n;
	memset(p, 2, n);
	pause_here();
	return wide[3] + p[1];
}
static void mode_realigned(void) { depth += realigned(depth * 8); KEEP(); }

__attribute__((noreturn, noinline)) static void never_returns(void)
{
	pause_here();
	_exit(0);
}
/* The call is the last instruction: its return address lies behind the function. */
__attribute__((noreturn, noinline)) static void calls_last(void) { never_returns(); }
static void mode_noreturn(void) { calls_last(); }

NOINLINE static void tail_target(void) { pause_here(); KEEP(); }
NOINLINE static void tail_caller(void) { tail_target(); }	/* a jump */
static void mode_tail(void) { tail_caller(); KEEP(); }

NOINLINE static void on_signal(int sig) { (void)sig; pause_here(); KEEP(); }
NOINLINE static void interrupted(void) { raise(SIGUSR1); KEEP(); }
static void mode_signal(void)
{
	signal(SIGUSR1, on_signal);
	interrupted();
	KEEP();
}

NOINLINE static void on_fault(int sig, siginfo_t *info, void *ctx)
{
	(void)sig, (void)info, (void)ctx;
	pause_here();
	_exit(0);
}
/* In a leaf, which has pushed nothing. */
NOINLINE static int faults(volatile int *p) { return *p; }
static void mode_fault(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &act, NULL);
	depth += faults(NULL);
	KEEP();
}

static void on_second(int sig) { (void)sig; pause_here(); KEEP(); }
static void on_first(int sig) { (void)sig; raise(SIGUSR2); KEEP(); }
static void mode_nested(void)
{
	signal(SIGUSR1, on_first);
	signal(SIGUSR2, on_second);
	interrupted();
	KEEP();
}

static jmp_buf back;
NOINLINE static void jumps(long n)
{
	if (n)
		jumps(n - 1);
	if (depth)	/* always; the compiler does not know */
		longjmp(back, 1);
	KEEP();
}
NOINLINE static void after_jump(void)
{
	if (!setjmp(back))
		jumps(10);
	pause_here();
	KEEP();
}
static void mode_longjmp(void) { after_jump(); KEEP(); }

NOINLINE static void *thread_main(void *arg) { deep((long)arg); KEEP(); return arg; }
static void mode_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_main, (void *)5l);
	pthread_join(t, NULL);
}

#ifndef NO_CONTEXT	/* musl has none */
static ucontext_t here, there;
static void context_main(void) { deep(3); KEEP(); }
static void mode_context(void)
{
	getcontext(&there);
	there.uc_stack.ss_sp = malloc(65536);
	there.uc_stack.ss_size = 65536;
	there.uc_link = &here;
	makecontext(&there, context_main, 0);
	swapcontext(&here, &there);
}
#endif

static int paused_once;
NOINLINE static int compare(const void *a, const void *b)
{
	if (!paused_once++)
		pause_here();
	return *(const int *)a - *(const int *)b;
}
/* Through the C library, which is stripped. */
static void mode_qsort(void)
{
	int list[300];

	for (int i = 0; i < 300; i++)
		list[i] = 300 - i;
	qsort(list, 300, sizeof(list[0]), compare);
}

static int initialised_once;
static void once(void) { initialised_once = 1; pause_here(); KEEP(); }
static void mode_once(void)
{
	static pthread_once_t control = PTHREAD_ONCE_INIT;

	pthread_once(&control, once);
}

/* Written by hand: one with CFI that no compiler makes, one with none but a frame pointer. */
void asm_cfi(void);
void asm_frame(void);
#if defined(__x86_64__)
__asm__(".text\n.type asm_cfi, @function\nasm_cfi:\n.cfi_startproc\n"
	"	push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\n"
	"	sub $48, %rsp\n.cfi_adjust_cfa_offset 48\n	call pause_here\n"
	"	add $48, %rsp\n.cfi_adjust_cfa_offset -48\n	pop %rbx\n.cfi_adjust_cfa_offset -8\n	ret\n"
	".cfi_endproc\n.size asm_cfi, . - asm_cfi\n"
	".type asm_frame, @function\nasm_frame:\n"
	"	push %rbp\n	mov %rsp, %rbp\n	sub $32, %rsp\n	call pause_here\n	leave\n	ret\n"
	".size asm_frame, . - asm_frame\n");
#else
void asm_cfi(void) { pause_here(); KEEP(); }
void asm_frame(void) { pause_here(); KEEP(); }
#endif
static void mode_asm_cfi(void) { asm_cfi(); KEEP(); }
static void mode_asm_frame(void) { asm_frame(); KEEP(); }

#if defined(__x86_64__)
#define TRAP_FLAG	0x100l

/* Behind each instruction, as long as the interrupted flags say so. */
static void on_step(int sig, siginfo_t *info, void *ctx)
{
	static const unsigned char endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	greg_t *regs = ((ucontext_t *)ctx)->uc_mcontext.gregs;
	const unsigned char *entry = (const void *)(regs[REG_RIP] & ~15l);

	(void)sig, (void)info;
	/* jmp *got; push index; …  or  endbr64; push index; … */
	if ((regs[REG_RIP] & 15) != depth || ((memcmp(entry, endbr64, sizeof(endbr64)) || entry[4] != 0x68) &&
					      (entry[0] != 0xff || entry[1] != 0x25 || entry[6] != 0x68)))
		return;
	regs[REG_EFL] &= ~TRAP_FLAG;
	pause_here();
	KEEP();
}
NOINLINE static void steps(void)
{
	__asm__ volatile("sub $128, %%rsp; pushf; orl %0, (%%rsp); popf; add $128, %%rsp" :: "i"(TRAP_FLAG) : "cc", "memory");
	depth += getppid();	/* called nowhere else: it goes through all of its entry */
	KEEP();
}
static void mode_plt(void)
{
	struct sigaction act = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &act, NULL);
	steps();
	KEEP();
}
#endif

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "deep", mode_deep }, { "alloca", mode_alloca }, { "large", mode_large }, { "frame", mode_frame },
	{ "realigned", mode_realigned }, { "noreturn", mode_noreturn }, { "tail", mode_tail }, { "signal", mode_signal },
	{ "fault", mode_fault }, { "nested", mode_nested }, { "longjmp", mode_longjmp }, { "thread", mode_thread },
#ifndef NO_CONTEXT
	{ "context", mode_context },
#endif
	{ "qsort", mode_qsort }, { "once", mode_once }, { "asm_cfi", mode_asm_cfi },
	{ "asm_frame", mode_asm_frame },
#if defined(__x86_64__)
	{ "plt", mode_plt },
#endif
};

int main(int argc, char **argv)
{
	char line[16];

	if (argc > 2)
		depth = atol(argv[2]);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc > 1 && !strcmp(argv[1], modes[i].name))
			modes[i].run();
	return depth < 0;
}
