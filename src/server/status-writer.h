/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A fiber that brings the statuses of cluster-wide objects up to date, by name: what concerns
 * several events within one turn is done once.
 */

#include "base/map.h"
#include "io/fiber.h"

struct apiserver;
struct arena;

struct status_writer {
	const char *what; /* names the fiber and what could not be written; a literal */
	/* Reads the object, writes its status if that should be another. */
	MUST_USE SUSPENDS struct err *(*update)(struct apiserver *s, struct arena *a,
						struct str name);
	/* private */
	struct apiserver *server;
	struct waitq wake;
	struct map dirty; /* names */
};

/* Before the first mark. */
void status_writer_start(struct status_writer *w, struct apiserver *s);
void status_writer_mark(struct status_writer *w, struct str name);
