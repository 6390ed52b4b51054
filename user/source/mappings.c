/* SPDX-License-Identifier: GPL-2.0-only */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "base/log.h"
#include "source/leak_values.h"
#include "source/mapping_book.h"
#include "source/mappings.h"
#include "target/space.h"

#define LOOK_BUDGET_NS	200000000ull	/* for counting pages */
#define LOOK_PERIOD_NS	900000000ull	/* of looks that nobody waits for: every second, with what timers are early */
#define LOOK_PAUSES	50		/* and not before so many times as long as the last one took */

#define CONSUME_CNT	1024	/* intervals between two looks at the ring: 2 ms */

/* The innermost frame of a stack that maps. No code is at address 0. */
#define FRAME_MMAP	STACK_FRAME_EXACT

/* What is known of a stack of the kernel's. */
struct mapper {
	enum { MAPPER_UNKNOWN, MAPPER_OURS, MAPPER_ALLOCATOR } kind;
	int stack;		/* the profile's, with FRAME_MMAP; valid with MAPPER_OURS */
};

struct mappings {
	struct mappings_config config;
	struct mapping_book book;
	struct target_space *space;	/* NULL before the start, and where it may not be read */
	struct mapper *mappers;		/* by index */
	uint32_t mappers_cnt;
	int raw[MAPPING_RAWS];		/* the profile's stacks; -1 = not there yet */
	bool frozen;
	uint64_t next_ns;		/* not before then, see LOOK_PERIOD_NS */
	uint64_t resume_addr;		/* where counting pages goes on */
	uint64_t unseen_cnt;
	struct mappings_held held;
	int err;
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void failed(struct mappings *m, int err)
{
	if (err && !m->err)
		m->err = err;
}

int mappings_open(const struct mappings_config *config, struct mappings **ret)
{
	struct mappings *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->config = *config;
	m->raw[0] = m->raw[1] = -1;
	if (mapping_book_open(&m->book, sysconf(_SC_PAGESIZE), config->min_bytes)) {
		mappings_free(m);
		return -ENOMEM;
	}
	*ret = m;
	return 0;
}

struct mappings *mappings_free(struct mappings *m)
{
	if (!m)
		return NULL;
	target_space_free(m->space);
	mapping_book_close(&m->book);
	free(m->mappers);
	free(m);
	return NULL;
}

static uint32_t owner_of(const struct mappings *m, enum target_piece_kind kind)
{
	switch (kind) {
	case TARGET_PIECE_ANON:
		return MAPPING_RAW;
	case TARGET_PIECE_FILE:
		return MAPPING_RAW_FILE;
	case TARGET_PIECE_HEAP:
		return m->config.brk_is_allocators ? MAPPING_ALLOCATOR : MAPPING_RAW;
	default:
		return MAPPING_OLD;
	}
}

/* Puts the book right by maps. True when there is something to look at. */
static bool settle(struct mappings *m, bool first)
{
	struct target_piece *pieces = NULL;
	struct mapping_seen *seen;
	size_t cnt = 0;
	int err;

	if (!first)
		ring_buffer__consume(m->config.rings);
	mapping_book_begin(&m->book, clock_ns());
	err = target_space_pieces(m->space, &pieces, &cnt);
	if (!err && !first)
		ring_buffer__consume(m->config.rings);
	seen = calloc(cnt + 1, sizeof(*seen));
	if (!err && !seen)
		err = -ENOMEM;
	for (size_t i = 0; !err && i < cnt; i++)
		seen[i] = (struct mapping_seen){ pieces[i].start, pieces[i].end, first ? MAPPING_OLD : owner_of(m, pieces[i].kind) };
	if (!err)
		err = mapping_book_settle(&m->book, seen, cnt, clock_ns());
	else
		mapping_book_drop(&m->book);
	free(seen);
	free(pieces);
	if (err && err != -ESRCH)
		failed(m, err);
	return !err;
}

int mappings_start(struct mappings *m)
{
	int err = target_space_open(m->config.target, &m->space);

	if (!err && !settle(m, true))
		err = m->err ? m->err : -ESRCH;
	return err;
}

void mappings_event(struct mappings *m, const void *event, size_t size)
{
	struct mapping_event e = { 0 };

	if (size < MAPPING_SHORT_BYTES || !m->space || m->frozen)
		return;
	memcpy(&e, event, size < sizeof(e) ? size : sizeof(e));
	if (e.type >= LEAK_EVENT_MMAP && e.type <= LEAK_EVENT_MREMAP)
		mapping_book_event(&m->book, &e);
}

static bool is_allocators(const struct mappings *m, const struct stack *st)
{
	for (uint32_t i = 0; i < st->frames_cnt; i++) {
		const struct frame *f = profile_frame_at(m->config.profile, st->frames[i]);

		if (leak_programs_allocates(m->config.programs, m->config.target, f->is_return ? f->addr - 1 : f->addr, i == 0))
			return true;
	}
	return false;
}

/* The same stack with a frame that says what it has done. */
static int stack_with_mmap(struct mappings *m, struct stack *st)
{
	uint64_t frames[STACK_FRAMES_MAX + 1] = { FRAME_MMAP };
	struct profile *p = m->config.profile;
	uint32_t cnt = 1;
	int stack;

	for (uint32_t i = 0; i < st->frames_cnt && cnt <= STACK_FRAMES_MAX; i++) {
		const struct frame *f = profile_frame_at(p, st->frames[i]);

		if (!f->inlined)	/* these come with the name of the next one */
			frames[cnt++] = f->addr | (uint64_t)f->epoch << 57 | (f->is_return ? 0 : STACK_FRAME_EXACT);
	}
	stack = profile_stack(p, st->process, frames, cnt, st->cut);
	if (stack < 0)
		return stack;
	*st = profile_stack_at(p, stack);
	if (profile_frame_at(p, st->frames[0])->kind == FRAME_UNNAMED) {
		int err = profile_frame_name(p, st->frames[0], "[mmap]", NULL, FRAME_ALLOCATOR, false);

		if (err)
			return err;
	}
	return stack;
}

/* What the stack of a call tells; MAPPER_UNKNOWN while its frames have not come. */
static struct mapper mapper_of(struct mappings *m, uint32_t index)
{
	struct mapper none = { .kind = MAPPER_UNKNOWN }, *mapper;
	struct stack st;
	int stack;

	if (index >= m->mappers_cnt) {
		uint32_t cnt = index < 512 ? 1024 : index * 2;

		mapper = realloc(m->mappers, cnt * sizeof(*mapper));
		if (!mapper) {
			failed(m, -ENOMEM);
			return none;
		}
		m->mappers = mapper;
		while (m->mappers_cnt < cnt)
			mapper[m->mappers_cnt++] = none;
	}
	mapper = &m->mappers[index];
	stack = stacks_at(m->config.stacks, index);
	if (mapper->kind != MAPPER_UNKNOWN || stack < 0)
		return *mapper;
	st = profile_stack_at(m->config.profile, stack);
	if (is_allocators(m, &st)) {
		mapper->kind = MAPPER_ALLOCATOR;
		return *mapper;
	}
	mapper->stack = st.label ? stack : stack_with_mmap(m, &st);
	if (mapper->stack < 0)
		failed(m, mapper->stack);
	else
		mapper->kind = MAPPER_OURS;
	return *mapper;
}

/* The profile's stack of what this owner has mapped; -1: it does not count. */
static int stack_of(struct mappings *m, uint32_t owner)
{
	static const char *const labels[MAPPING_RAWS] = {
		"[mapped by raw system calls or brk, no stack]", "[files mapped by raw system calls or dlopen, no stack]",
	};
	struct mapper mapper;
	int *raw;

	if (owner < MAPPING_STACKS) {
		mapper = mapper_of(m, owner);
		return mapper.kind == MAPPER_OURS ? mapper.stack : -1;
	}
	if (owner < MAPPING_RAW)
		return -1;
	raw = &m->raw[owner - MAPPING_RAW];
	if (*raw < 0)
		*raw = profile_stack_label(m->config.profile, m->config.stacks->process, labels[owner - MAPPING_RAW]);
	if (*raw < 0)
		failed(m, *raw);
	return *raw;
}

/* One interval's pages, unless the time is over (-ETIME) or the target gone (-ESRCH). */
static int pages_count(struct mappings *m, struct interval *i, uint64_t until_ns)
{
	if (stack_of(m, i->owner) < 0)
		return 0;
	if (clock_ns() > until_ns)
		return -ETIME;
	return target_space_resident(m->space, i->start, i->end, until_ns, &i->resident_bytes);
}

/* Those in [start, end). 0; or where it stopped, in *stop_addr, and those that count from there on are unseen. */
static int pages_count_all(struct mappings *m, uint64_t start, uint64_t end, uint64_t until_ns, uint64_t *stop_addr)
{
	uint32_t cnt = 0;
	int err = 0;

	for (uint64_t at = start; err != -ESRCH; ) {
		struct interval *i = intervals_after(m->book.intervals, at);

		if (!i || i->start >= end)
			break;
		at = i->end;
		if (!err)
			err = pages_count(m, i, until_ns);
		if (err == -ETIME) {
			if (!m->unseen_cnt)
				*stop_addr = i->start;
			m->unseen_cnt += stack_of(m, i->owner) >= 0;
		}
		/* a look may take longer than the ring has room for; the intervals are others then */
		if (++cnt % CONSUME_CNT == 0)
			ring_buffer__consume(m->config.rings);
	}
	return err;
}

/* Goes on where it had to stop the last time, and round from there. */
static void pages_look(struct mappings *m)
{
	uint64_t until_ns = clock_ns() + LOOK_BUDGET_NS, from = m->resume_addr;

	m->resume_addr = m->unseen_cnt = 0;
	if (pages_count_all(m, from, UINT64_MAX, until_ns, &m->resume_addr) == -ETIME)
		until_ns = 0;
	pages_count_all(m, 0, from, until_ns, &m->resume_addr);
}

/* While the probes are there it is known which functions are an allocator's. */
static void mappers_judge(struct mappings *m)
{
	for (uint32_t i = 0; i < m->book.counts_cnt; i++)
		if (m->book.counts[i].calls)
			mapper_of(m, i);
}

void mappings_look(struct mappings *m, bool now)
{
	uint64_t begin_ns = clock_ns(), took_ns;

	if (!m->space || m->frozen || (!now && begin_ns < m->next_ns))
		return;
	if (settle(m, false))
		pages_look(m);
	mappers_judge(m);
	took_ns = clock_ns() - begin_ns;
	m->next_ns = begin_ns + (took_ns * LOOK_PAUSES > LOOK_PERIOD_NS ? took_ns * LOOK_PAUSES : LOOK_PERIOD_NS);
}

void mappings_freeze(struct mappings *m)
{
	mappings_look(m, true);
	m->frozen = true;
}

static void counts_add(struct mappings *m, uint32_t owner)
{
	struct mapping_counts c = mapping_book_counts(&m->book, owner);
	int stack = c.calls ? stack_of(m, owner) : -1;

	if (stack < 0)
		return;
	leak_value_add(m->config.profile, stack, LEAK_ALLOC_BLOCKS, c.calls);
	leak_value_add(m->config.profile, stack, LEAK_ALLOC_BYTES, c.bytes);
}

int mappings_values(struct mappings *m, const struct mappings_ages *ages)
{
	struct profile *p = m->config.profile;
	uint64_t now_ns = clock_ns();
	int err;

	m->held = (struct mappings_held){ .unseen_cnt = m->unseen_cnt };
	for (const struct interval *i = intervals_after(m->book.intervals, 0); i; i = intervals_after(m->book.intervals, i->end)) {
		int stack = stack_of(m, i->owner);

		if (stack < 0)
			continue;
		if (ages->cutoff_ns && i->born_ns <= ages->cutoff_ns)
			leak_value_add(p, stack, LEAK_OLD_BLOCKS, 1);
		if (ages->older_ns && i->born_ns + ages->older_ns > now_ns)
			continue;
		leak_value_add(p, stack, LEAK_HELD_BLOCKS, 1);
		leak_value_add(p, stack, LEAK_HELD_BYTES, i->resident_bytes);
		m->held.cnt++;
		m->held.bytes += i->resident_bytes;
	}
	for (uint32_t i = 0; i < m->book.counts_cnt; i++)
		counts_add(m, i);
	for (uint32_t i = 0; i < MAPPING_RAWS; i++)
		counts_add(m, MAPPING_RAW + i);
	profile_note_set(p, "mappings whose pages there was no time to count: as they were last seen", m->unseen_cnt);
	profile_loss_set(p, "mappings not booked: there are more than ebb keeps", m->book.lost_cnt);
	failed(m, m->book.err);
	err = m->err;
	m->err = m->book.err = 0;
	return err;
}

void mappings_held(const struct mappings *m, struct mappings_held *ret)
{
	*ret = m->held;
}
