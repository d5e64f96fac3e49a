/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Intrusive circular doubly linked list. A node that is in no list points to itself. */

#include "base/assert.h"
#include "base/base.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(l)       \
	{                  \
		&(l), &(l) \
	}

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline bool list_linked(const struct list *n)
{
	return n->next && n->next != n;
}

static inline void list_insert_before(struct list *pos, struct list *n)
{
	n->prev = pos->prev;
	n->next = pos;
	pos->prev->next = n;
	pos->prev = n;
}

static inline void list_push_back(struct list *l, struct list *n)
{
	list_insert_before(l, n);
}

static inline void list_push_front(struct list *l, struct list *n)
{
	list_insert_before(l->next, n);
}

/* Safe on a node that is zeroed or in no list. */
static inline void list_unlink(struct list *n)
{
	if (!n->next)
		return;
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first(l, type, member)   (list_empty(l) ? NULL : list_entry((l)->next, type, member))

#define list_for_each(it, l, member)                                                  \
	for (it = list_entry((l)->next, __typeof__(*it), member); &it->member != (l); \
	     it = list_entry(it->member.next, __typeof__(*it), member))

/* it may be unlinked and freed in the body. */
#define list_for_each_safe(it, tmp, l, member)                          \
	for (it = list_entry((l)->next, __typeof__(*it), member),       \
	    tmp = list_entry(it->member.next, __typeof__(*it), member); \
	     &it->member != (l);                                        \
	     it = tmp, tmp = list_entry(it->member.next, __typeof__(*it), member))
