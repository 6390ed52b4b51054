/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "source/intervals.h"

struct node {
	struct interval i;
	uint32_t heap;		/* random; a parent's is not below its children's */
	struct node *left, *right;
};

struct intervals {
	struct node *root;
	size_t cnt;
	uint64_t random;
	struct node *spare[3];	/* for an operation that must not fail half way: two cuts, and what is put */
	unsigned int spare_cnt;
};

struct intervals *intervals_new(void)
{
	struct intervals *s = calloc(1, sizeof(*s));

	if (s)
		s->random = 0x9e3779b97f4a7c15ull;
	return s;
}

/* Turned into a list on the way: no recursion, which a map of millions would take deep. */
static void nodes_free(struct node *n)
{
	while (n) {
		struct node *left = n->left;

		if (left) {
			n->left = left->right;
			left->right = n;
			n = left;
		} else {
			struct node *right = n->right;

			free(n);
			n = right;
		}
	}
}

struct intervals *intervals_free(struct intervals *s)
{
	if (!s)
		return NULL;
	nodes_free(s->root);
	while (s->spare_cnt)
		free(s->spare[--s->spare_cnt]);
	free(s);
	return NULL;
}

size_t intervals_cnt(const struct intervals *s)
{
	return s->cnt;
}

static bool spare_fill(struct intervals *s)
{
	while (s->spare_cnt < sizeof(s->spare) / sizeof(s->spare[0])) {
		struct node *n = malloc(sizeof(*n));

		if (!n)
			return false;
		s->spare[s->spare_cnt++] = n;
	}
	return true;
}

static struct node *node_new(struct intervals *s, const struct interval *i)
{
	struct node *n = s->spare[--s->spare_cnt];

	s->random ^= s->random << 13;	/* xorshift64 */
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	*n = (struct node){ .i = *i, .heap = s->random >> 32 };
	s->cnt++;
	return n;
}

/* All of a before all of b. */
static struct node *join(struct node *a, struct node *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->heap > b->heap) {
		a->right = join(a->right, b);
		return a;
	}
	b->left = join(a, b->left);
	return b;
}

/* Those that start below addr, and the others. */
static void split(struct node *n, uint64_t addr, struct node **below, struct node **rest)
{
	while (n) {
		if (n->i.start < addr) {
			*below = n;
			below = &n->right;
			n = n->right;
		} else {
			*rest = n;
			rest = &n->left;
			n = n->left;
		}
	}
	*below = *rest = NULL;
}

struct interval *intervals_after(const struct intervals *s, uint64_t addr)
{
	struct node *n = s->root, *found = NULL;

	while (n) {
		if (n->i.end > addr) {
			found = n;
			n = n->left;
		} else {
			n = n->right;
		}
	}
	return found ? &found->i : NULL;
}

static void resident_limit(struct interval *i)
{
	if (i->resident_bytes > i->end - i->start)
		i->resident_bytes = i->end - i->start;
}

/* Makes two of an interval that addr lies in, unless the interval is newer. Uses a spare node. */
static void divide(struct intervals *s, uint64_t addr, uint64_t until_ns)
{
	struct interval *i = intervals_after(s, addr), upper;
	struct node *below, *rest, *n;

	if (!i || i->start >= addr || i->placed_ns > until_ns)
		return;
	upper = *i;
	upper.start = addr;
	i->end = addr;
	/* where the pages are is not known before somebody looks; together they are as many as before */
	resident_limit(i);
	upper.resident_bytes -= i->resident_bytes;
	resident_limit(&upper);
	n = node_new(s, &upper);
	split(s->root, addr, &below, &rest);
	s->root = join(join(below, n), rest);
}

/* The first of a tree; the others as a tree again. */
static struct node *first_take(struct node **tree)
{
	struct node **at = tree, *n;

	if (!*tree)
		return NULL;
	while ((*at)->left)
		at = &(*at)->left;
	n = *at;
	*at = n->right;
	n->left = n->right = NULL;
	return n;
}

static size_t nodes_cnt(const struct intervals *s, uint64_t start, uint64_t end, uint64_t until_ns)
{
	size_t cnt = 0;

	for (const struct interval *i = intervals_after(s, start); i && i->start < end; i = intervals_after(s, i->end))
		cnt += i->placed_ns <= until_ns;
	return cnt;
}

int intervals_take(struct intervals *s, uint64_t start, uint64_t end, uint64_t until_ns, struct interval **ret_taken,
		   size_t *ret_cnt)
{
	struct node *below, *middle, *above, *kept = NULL, *n;
	struct interval *taken = NULL;
	size_t cnt = 0;

	if (!spare_fill(s))
		return -ENOMEM;
	if (ret_taken) {
		/* an interval that both ends lie in is counted once and is one part */
		taken = malloc((nodes_cnt(s, start, end, until_ns) + 1) * sizeof(*taken));
		if (!taken)
			return -ENOMEM;
	}
	divide(s, start, until_ns);
	divide(s, end, until_ns);
	split(s->root, start, &below, &middle);
	split(middle, end, &middle, &above);
	while ((n = first_take(&middle))) {
		if (n->i.placed_ns > until_ns) {
			kept = join(kept, n);
			continue;
		}
		if (taken)
			taken[cnt++] = n->i;
		s->cnt--;
		free(n);
	}
	s->root = join(join(below, kept), above);
	if (ret_taken) {
		*ret_taken = taken;
		*ret_cnt = cnt;
	}
	return 0;
}

int intervals_put(struct intervals *s, const struct interval *new)
{
	struct node *below, *rest;
	int err = intervals_take(s, new->start, new->end, UINT64_MAX, NULL, NULL);

	/* taking may have used two of them, and left the third */
	if (err)
		return err;
	split(s->root, new->start, &below, &rest);
	s->root = join(join(below, node_new(s, new)), rest);
	return 0;
}
