/* SPDX-License-Identifier: Apache-2.0 */
#include "server/status-writer.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "server/server.h"

static struct err *writer_run(void *arg)
{
	struct status_writer *w = arg;

	for (;;) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct map_entry *first = w->dirty.first;
		struct err *e;
		struct str name;

		if (!first) {
			TRY(waitq_wait(&w->wake));
			continue;
		}
		name = arena_str(a, first->key);
		map_del(&w->dirty, name);
		e = w->update(w->server, a, name);
		/* a conflict comes with an event of its own */
		if (e && !err_is(e, ERR_CONFLICT))
			err_log(NULL, LOG_WARN, w->what, err_wrap(e, STR_FMT, STR_ARG(name)));
		else
			err_ignore(e, "the newer object is looked at next");
		TRY(fiber_check());
	}
}

void status_writer_mark(struct status_writer *w, struct str name)
{
	map_put(&w->dirty, name, w);
	waitq_wake_all(&w->wake);
}

void status_writer_start(struct status_writer *w, struct apiserver *s)
{
	w->server = s;
	waitq_init(&w->wake);
	fiber_unref(fiber_spawn(s->loop, w->what, writer_run, w));
}
