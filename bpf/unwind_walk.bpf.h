/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walk: from frame to frame by rows, through code without rows by frame pointers, back to rows behind it. The common
 * step (a rule of SP or BP, slots in the window) is in line, everything else is walk_step().
 *
 * A frame is looked up by its call, which lies before the return address: pc - 1. An exact pc (the probe's own, or what
 * a signal interrupted) is looked up as it is.
 */
#ifndef EBB_UNWIND_WALK_BPF_H
#define EBB_UNWIND_WALK_BPF_H

#define FRAME_BYTES_MAX	(1u << 20)	/* what a frame that is found by its frame pointer may have */

static __always_inline void hash_add(struct stack_hash *h, __u64 frame)
{
	stack_hash_add(h->name, frame);
	h->sum = h->sum * 31 + frame;	/* their order counts */
}

static __always_inline void stack_count(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

static __always_inline struct stack_state *stack_state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stack_state, &zero);
}

/* Ends the walk. */
static __always_inline int walk_end(struct stack_cpu *c, enum stack_end end)
{
	c->end = end;
	return 1;
}

/* A signal frame: the interrupted registers are in the ucontext at sp. */
static __always_inline int step_signal(struct stack_cpu *c)
{
	__u64 sp = c->sp, pc, bp;

	c->memo_fit = 0;
	if (window_word(c, sp + UNWIND_UCONTEXT_BP, &bp) || window_word(c, sp + UNWIND_UCONTEXT_PC, &pc) ||
	    window_word(c, sp + UNWIND_UCONTEXT_SP, &sp))
		return walk_end(c, STACK_CUT_READ);
	c->pc = pc;
	c->sp = sp;
	c->bp = bp;
	c->exact = 1;
	return 0;
}

/* The caller's registers, where the CFA is known. */
static __always_inline int step_to(struct stack_cpu *c, __u32 i, __u64 cfa, __u32 bp_kind, int bp_off)
{
	__u64 ra, bp = c->bp;

	if (cfa <= c->sp)
		return walk_end(c, STACK_CUT_LOOP);
	if (window_word(c, cfa - 8, &ra))
		return walk_end(c, STACK_CUT_READ);
	c->ra_slots[i] = cfa - 8 - c->sp0;
	if (bp_kind == UNWIND_BP_CFA) {
		if (window_word(c, cfa + bp_off, &bp))
			return walk_end(c, STACK_CUT_READ);
		c->bp_slot = cfa + bp_off - c->sp0;
	} else if (bp_kind == UNWIND_BP_AT_BP) {
		c->memo_fit = 0;
		if (window_word(c, c->bp, &bp))
			return walk_end(c, STACK_CUT_READ);
	} else if (bp_kind == UNWIND_BP_UNDEFINED) {
		bp = BP_LOST;
	}
	c->pc = UNWIND_STRIP(ra);
	c->sp = cfa;
	c->bp = bp;
	c->exact = 0;
	return ra ? 0 : walk_end(c, STACK_ENDED);
}

/*
 * Code without rows. That a frame pointer of 0 marks the outermost frame is said by the ABIs of x86-64 (3.4.1) and of
 * arm64; code that is nowhere says nothing.
 */
static __always_inline int step_pointer(struct stack_cpu *c, __u32 i, bool outside)
{
	__u64 bp = c->bp;

	if (c->entry && !i) {	/* nothing is pushed yet */
		if (!UNWIND_ENTRY_IN_LR)
			return step_to(c, i, c->sp + 8, UNWIND_BP_SAME, 0);
		c->memo_fit = 0;
		c->pc = UNWIND_STRIP(c->lr);
		c->exact = 0;
		return 0;
	}
	c->bp_slots[i] = c->bp_slot;
	if (!bp && !outside)
		return walk_end(c, STACK_ENDED);
	if (bp < c->sp || bp - c->sp > FRAME_BYTES_MAX || bp & 7)
		return walk_end(c, STACK_CUT_POINTER);
	return step_to(c, i, UNWIND_FP_CFA(bp), UNWIND_BP_CFA, -16);
}

/* CFAs that are read from memory: the PLT's and those of functions that realign their stack. */
static __always_inline int step_deref(struct stack_cpu *c, __u32 i, __u64 rule)
{
	__u64 reg = UNWIND_RULE_KIND(rule) == UNWIND_SP_DEREF ? c->sp : c->bp, cfa;

	c->memo_fit = 0;
	if (window_word(c, reg + (short)UNWIND_RULE_CFA(rule), &cfa))
		return walk_end(c, STACK_CUT_READ);
	return step_to(c, i, cfa + (UNWIND_RULE_CFA(rule) >> 16), UNWIND_RULE_BP_KIND(rule), UNWIND_RULE_BP(rule));
}

static __always_inline __u64 rule_at(__u32 found)
{
	__u32 id = RULE_ID(found);
	__u64 *rule = bpf_map_lookup_elem(&unwind_rules, &id);

	return rule ? *rule : 0;
}

/*
 * The rule of the frame at c->pc. An address outside of all code may be the trampoline that a return probe has put
 * in place of the return address: then the frame is the true one.
 */
static __always_inline __u32 frame_rule(struct stack_cpu *c, __u32 i)
{
	__u32 found = rule_get(c, c->exact ? c->pc : c->pc - 1);
	__u64 addr;

	if (RULE_ID(found) != UNWIND_RULE_OUTSIDE || c->exact || !i)
		return found;
	addr = return_address(c->sp);
	if (!addr)
		return found;
	c->memo_fit = 0;
	c->pc = addr;
	return rule_get(c, addr - 1);
}

static __always_inline void note_outside(struct stack_cpu *c, __u32 i)
{
	struct stack_state *state = stack_state_get();

	c->memo_fit = 0;
	if (c->outside_cnt)
		return;
	c->outside_cnt = i + 1;
	c->outside_hash = c->hash;
	if (state && c->generation)
		stack_count(&state->outside_cnt);
}

/* One step, of any kind: frame i is c->pc. 0, or 1 at the end, with the reason in c->end. */
__noinline int walk_step(__u32 seat, __u32 i)
{
	struct stack_cpu *c = cpu_get(seat);
	__u32 found, kind;
	__u64 rule, frame, sp;

	if (!c)
		return 1;
	asm volatile("" : "+r"(i));
	if (i >= STACK_FRAMES_MAX)
		return walk_end(c, STACK_CUT_DEPTH);
	found = frame_rule(c, i);
	if (RULE_ID(found) == UNWIND_RULE_OUTSIDE)
		note_outside(c, i);
	rule = rule_at(found);
	/* what nobody has called: the CFI of a restorer, or of a context's end, may begin at the very return address */
	if (!UNWIND_RULE_KIND(rule) && !c->exact) {
		frame = rule_at(rule_get(c, c->pc));
		if (UNWIND_RULE_KIND(frame) == UNWIND_SIGNAL || UNWIND_RULE_KIND(frame) == UNWIND_END)
			rule = frame;
	}
	kind = UNWIND_RULE_KIND(rule);
	frame = c->pc | RULE_EPOCH_TAG(found) | (c->exact || kind == UNWIND_SIGNAL ? STACK_FRAME_EXACT : 0);
	c->event.frames[i] = frame;
	hash_add(&c->hash, frame);
	c->frames_cnt = i + 1;
	c->ra_slots[i] = c->bp_slots[i] = BP_UNUSED;

	sp = c->sp;
	switch (kind) {
	case UNWIND_NONE:
		return step_pointer(c, i, RULE_ID(found) == UNWIND_RULE_OUTSIDE);
	case UNWIND_BP:
		c->bp_slots[i] = c->bp_slot;
		sp = c->bp;
		if (sp == BP_LOST)
			return walk_end(c, STACK_CUT_RULE);
		/* fall through */
	case UNWIND_SP:
		return step_to(c, i, sp + UNWIND_RULE_CFA(rule), UNWIND_RULE_BP_KIND(rule), UNWIND_RULE_BP(rule));
	case UNWIND_SP_DEREF:
	case UNWIND_BP_DEREF:
		if (kind == UNWIND_BP_DEREF && c->bp == BP_LOST)
			return walk_end(c, STACK_CUT_RULE);
		return step_deref(c, i, rule);
	case UNWIND_PLT:
		/* the push of the index ends at byte 11 (psABI x86-64, figure 5.2), or at 9 where endbr64 is in front */
		return step_to(c, i, sp + 8 + ((int)(c->pc & 15) >= UNWIND_RULE_CFA(rule) ? 8 : 0), UNWIND_BP_SAME, 0);
	case UNWIND_SIGNAL:
		return step_signal(c);
	case UNWIND_END:
		return walk_end(c, STACK_ENDED);
	default:
		return walk_end(c, STACK_CUT_RULE);
	}
}

/*
 * What of an unfinished walk is believed: nothing from the first address on that lies outside of all code. Where there
 * are no tables all addresses do.
 */
static __always_inline void walk_trim(struct stack_cpu *c)
{
	if (!c->generation) {
		c->end = STACK_CUT_UNTABLED;
		return;
	}
	if (c->end == STACK_ENDED || !c->outside_cnt)
		return;
	c->end = STACK_CUT_OUTSIDE;
	if (c->outside_cnt < 2)	/* one frame there must be */
		return;
	c->frames_cnt = c->outside_cnt - 1;
	c->hash = c->outside_hash;
}

#define WALK_TURNS	16	/* frames in one part of a walk; STACK_FRAMES_MAX + 1 is a multiple of it */

/*
 * The next WALK_TURNS frames, from frame `first` on. 0, or 1 at the end. A global function, and short: the verifier
 * follows each turn by itself, and all of a walk in one loop took it 90,000 instructions more (6.18). Only scalars go round the
 * loop in registers, and none that is constant: each would be a state of its own in every turn.
 */
__noinline int walk_part(__u32 seat, __u32 first)
{
	struct stack_cpu *c = cpu_get(seat);
	__u64 pc, sp, bp;

	if (!c)
		return 1;
	pc = c->pc;
	sp = c->sp;
	bp = c->bp;
	for (__u32 turn = 0; turn < WALK_TURNS; turn++) {
		__u64 rule, cfa, off, ra, next_bp = bp, slot = 0;
		__u32 found, kind, i = first + turn;

		asm volatile("" : "+r"(i));
		if (i >= STACK_FRAMES_MAX || c->exact || c->len < WINDOW_BELOW)
			goto step;
		found = rule_get(c, pc - 1);
		rule = rule_at(found);
		kind = UNWIND_RULE_KIND(rule);
		if (kind != UNWIND_SP && kind != UNWIND_BP)
			goto step;
		cfa = (kind == UNWIND_SP ? sp : bp) + UNWIND_RULE_CFA(rule);
		off = cfa - 8 - c->base;
		if (cfa <= sp || off > c->len - 8)
			goto step;
		ra = *(__u64 *)(c->window + (off & (WINDOW_BYTES - 1)));
		if (UNWIND_RULE_BP_KIND(rule) == UNWIND_BP_CFA) {
			slot = cfa + UNWIND_RULE_BP(rule);
			off = slot - c->base;
			if (off > c->len - 8)
				goto step;
			next_bp = *(__u64 *)(c->window + (off & (WINDOW_BYTES - 1)));
		} else if (UNWIND_RULE_BP_KIND(rule) != UNWIND_BP_SAME) {
			goto step;
		}
		if (!ra)
			goto step;
		pc |= RULE_EPOCH_TAG(found);
		c->event.frames[i] = pc;
		c->ra_slots[i] = cfa - 8 - c->sp0;
		c->bp_slots[i] = kind == UNWIND_BP ? c->bp_slot : BP_UNUSED;
		if (slot)
			c->bp_slot = slot - c->sp0;
		hash_add(&c->hash, pc);
		sp = cfa;
		bp = next_bp;
		pc = UNWIND_STRIP(ra);
		continue;
step:
		c->pc = pc;
		c->sp = sp;
		c->bp = bp;
		if (walk_step(seat, i))
			return 1;
		pc = c->pc;
		sp = c->sp;
		bp = c->bp;
	}
	c->pc = pc;
	c->sp = sp;
	c->bp = bp;
	return 0;
}

/* Walks from c->pc, c->sp, c->bp on: frames and hash, frames_cnt, end. */
static __always_inline void walk(struct stack_cpu *c)
{
	for (__u32 first = 0; first <= STACK_FRAMES_MAX; first += WALK_TURNS)
		if (walk_part(c->seat, first))
			break;
	walk_trim(c);
}

#endif
