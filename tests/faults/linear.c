/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and returns stand in a list by time. From its head: a call may be linearized next if no
 * return of another operation stands before it; then both its entries leave the list. At a return
 * the search has to go back, for its operation should have been chosen before.
 */
#include "linear.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct entry {
	struct entry *prev, *next, *match; /* match: of a call its return, of a return NULL */
	uint64_t at;
	const struct linear_op *op;
	size_t id;
};

struct seen {
	struct seen *next;
	uint32_t state;
	uint64_t done[];
};

struct choice {
	struct entry *call;
	uint32_t state; /* before it */
};

#define SEEN_BUCKETS 65536

struct search {
	struct entry head;
	struct entry *entries;
	struct choice *stack;
	size_t depth, n, words;
	uint64_t *done;
	struct seen **seen;
	uint32_t state;
};

/* Calls before returns at the same time: what touches overlaps. */
static int entry_cmp(const void *a, const void *b)
{
	const struct entry *const *x = a, *const *y = b;

	if ((*x)->at != (*y)->at)
		return (*x)->at < (*y)->at ? -1 : 1;
	return (!(*x)->match) - (!(*y)->match);
}

static void search_link(struct search *s)
{
	struct entry **sorted = mem_zalloc(2 * s->n + 1, sizeof(struct entry *));
	struct entry *last = &s->head;

	for (size_t i = 0; i < 2 * s->n; i++)
		sorted[i] = &s->entries[i];
	qsort(sorted, 2 * s->n, sizeof(struct entry *), entry_cmp);
	for (size_t i = 0; i < 2 * s->n; i++) {
		last->next = sorted[i];
		sorted[i]->prev = last;
		last = sorted[i];
	}
	last->next = NULL;
	free(sorted);
}

static void entry_lift(struct entry *call)
{
	struct entry *ret = call->match;

	call->prev->next = call->next;
	call->next->prev = call->prev; /* there is its return at least */
	ret->prev->next = ret->next;
	if (ret->next)
		ret->next->prev = ret->prev;
}

static void entry_unlift(struct entry *call)
{
	struct entry *ret = call->match;

	ret->prev->next = ret;
	if (ret->next)
		ret->next->prev = ret;
	call->prev->next = call;
	call->next->prev = call;
}

static bool op_step(const struct linear_op *op, uint32_t state, uint32_t *ret)
{
	*ret = state;
	switch (op->kind) {
	case LINEAR_READ:
		return state == op->value;
	case LINEAR_SET:
		*ret = op->value;
		return state == op->expect;
	case LINEAR_REFUSED:
		return state != op->expect;
	case LINEAR_UNKNOWN:
		if (state == op->expect)
			*ret = op->value;
		return true;
	}
	return false;
}

/* Whether this configuration is new; it is remembered. */
static bool search_visit(struct search *s, uint32_t state)
{
	uint64_t h = state * UINT64_C(0x9e3779b97f4a7c15);
	struct seen *e;

	for (size_t i = 0; i < s->words; i++)
		h = (h ^ s->done[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 29;
	for (e = s->seen[h % SEEN_BUCKETS]; e; e = e->next)
		if (e->state == state && !memcmp(e->done, s->done, s->words * 8))
			return false;
	e = mem_alloc(sizeof(*e) + s->words * 8);
	e->state = state;
	memcpy(e->done, s->done, s->words * 8);
	e->next = s->seen[h % SEEN_BUCKETS];
	s->seen[h % SEEN_BUCKETS] = e;
	return true;
}

static void done_flip(struct search *s, size_t id)
{
	s->done[id / 64] ^= UINT64_C(1) << (id % 64);
}

/* Takes the call if that is legal and leads somewhere new. */
static bool search_try(struct search *s, struct entry *call)
{
	uint32_t next;

	if (!op_step(call->op, s->state, &next))
		return false;
	done_flip(s, call->id);
	if (!search_visit(s, next)) {
		done_flip(s, call->id);
		return false;
	}
	s->stack[s->depth++] = (struct choice){ call, s->state };
	s->state = next;
	entry_lift(call);
	return true;
}

static bool search_run(struct search *s)
{
	struct entry *e = s->head.next;

	while (s->head.next) {
		struct choice c;

		if (e && e->match) {
			e = search_try(s, e) ? s->head.next : e->next;
			continue;
		}
		if (!s->depth)
			return false;
		c = s->stack[--s->depth];
		s->state = c.state;
		done_flip(s, c.call->id);
		entry_unlift(c.call);
		e = c.call->next;
	}
	return true;
}

static void search_free(struct search *s)
{
	for (size_t i = 0; i < SEEN_BUCKETS; i++) {
		struct seen *e, *next;

		for (e = s->seen[i]; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(s->seen);
	free(s->done);
	free(s->stack);
	free(s->entries);
}

bool linear_check(const struct linear_op *ops, size_t n, uint32_t initial)
{
	struct search s = { .n = n, .state = initial, .words = n / 64 + 1 };
	bool ok;

	s.entries = mem_zalloc(2 * n + 1, sizeof(*s.entries));
	s.stack = mem_zalloc(n + 1, sizeof(*s.stack));
	s.done = mem_zalloc(s.words, sizeof(*s.done));
	s.seen = mem_zalloc(SEEN_BUCKETS, sizeof(struct seen *));
	for (size_t i = 0; i < n; i++) {
		struct entry *call = &s.entries[2 * i], *ret = call + 1;
		bool unknown = ops[i].kind == LINEAR_UNKNOWN;

		*call = (struct entry){ .match = ret, .at = ops[i].call, .op = &ops[i], .id = i };
		*ret = (struct entry){ .at = unknown ? UINT64_MAX : ops[i].ret, .id = i };
		ASSERT(unknown || ops[i].ret >= ops[i].call);
	}
	search_link(&s);
	ok = search_run(&s);
	search_free(&s);
	return ok;
}
