/* SPDX-License-Identifier: Apache-2.0 */

#include "node/pod-runtime.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "node/cri.h"

#define TERMINATION_MESSAGE_MAX 4096
#define TERMINATION_LOG_MAX     2048

static const enum rt_state rt_states[] = {
	[RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED] = RT_CREATED,
	[RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING] = RT_RUNNING,
	[RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED] = RT_EXITED,
	[RUNTIME__V1__CONTAINER_STATE__CONTAINER_UNKNOWN] = RT_UNKNOWN,
};

/* The last max bytes of a file; empty when there is none. A container writes it: whatever its size,
 * no more is read. */
static struct str rt_read_end(struct arena *a, const char *path, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char *p = arena_alloc(a, max);
	ssize_t n = -1;
	struct stat st;

	if (fd < 0)
		return STR_EMPTY;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = pread(fd, p, max, MAX(st.st_size - (off_t)max, 0));
	close(fd);
	return str_make(p, n > 0 ? (size_t)n : 0);
}

/* The end of a CRI log without its heads, for FallbackToLogsOnError. */
static struct str rt_log_tail(struct arena *a, const char *path)
{
	struct str text = rt_read_end(a, path, 2 * TERMINATION_LOG_MAX), line, out = STR_EMPTY;

	while (str_split_next(&text, '\n', &line)) {
		struct str head;

		if (!str_cut(&line, ' ', &head) || !str_cut(&line, ' ', &head) ||
		    !str_cut(&line, ' ', &head))
			continue;
		out = arena_fmt(a, "%.*s%.*s\n", STR_ARG(out), STR_ARG(line));
	}
	return str_skip(out, out.n > TERMINATION_LOG_MAX ? out.n - TERMINATION_LOG_MAX : 0);
}

/* The message a container left behind, as its termination policy says. */
static struct str rt_termination_message(struct arena *a, const CRI(ContainerStatus) * s)
{
	struct str file =
		cri_pair_find(s->annotations, s->n_annotations, ANNOTATION_TERMINATION_FILE);
	struct str policy =
		cri_pair_find(s->annotations, s->n_annotations, ANNOTATION_TERMINATION_POLICY);
	struct str text = STR_EMPTY;

	if (file.n)
		text = rt_read_end(a, cri_z(a, file), TERMINATION_MESSAGE_MAX);
	if (!text.n && s->exit_code && str_eqz(policy, "FallbackToLogsOnError"))
		text = rt_log_tail(a, s->log_path);
	return text.n ? text : str_from(s->message);
}

static void rt_container_from(struct arena *a, const CRI(ContainerStatus) * s, struct str sandbox,
			      struct rt_container *ret)
{
	struct str restarts = cri_pair_find(s->annotations, s->n_annotations, ANNOTATION_RESTARTS);
	int64_t n = 0;

	str_to_i64(restarts, &n);
	*ret = (struct rt_container){
		.id = str_from(s->id),
		.name = cri_pair_find(s->labels, s->n_labels, LABEL_CONTAINER_NAME),
		.sandbox = sandbox,
		.image = s->image ? str_from(s->image->image) : STR_EMPTY,
		.image_ref = str_from(s->image_ref),
		.hash = cri_pair_find(s->annotations, s->n_annotations, ANNOTATION_HASH),
		.reason = str_from(s->reason),
		.log_path = str_from(s->log_path),
		.state = (unsigned)s->state < ARRAY_LEN(rt_states) ? rt_states[s->state]
								   : RT_UNKNOWN,
		.restarts = (int)n,
		.exit_code = s->exit_code,
		.created = { s->created_at },
		.started = { s->started_at },
		.finished = { s->finished_at },
	};
	if (ret->state == RT_EXITED)
		ret->message = rt_termination_message(a, s);
}

/* Newest first; few enough for an insertion sort. */
static void rt_sort_containers(struct rt_container *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct rt_container x = v[i];
		size_t j = i;

		for (; j > 0 && v[j - 1].created.ns < x.created.ns; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

static void rt_sort_sandboxes(struct rt_sandbox *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct rt_sandbox x = v[i];
		size_t j = i;

		for (; j > 0 && v[j - 1].created.ns < x.created.ns; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
}

static struct err *rt_read_sandboxes(struct cri *c, struct arena *a, struct str uid,
				     struct rt_pod *p)
{
	const CRI(ListPodSandboxResponse) * list;

	TRY(cri_list_sandboxes(c, a, uid, &list));
	p->sandboxes = arena_array(a, list->n_items + 1, sizeof(*p->sandboxes));
	for (size_t i = 0; i < list->n_items; i++) {
		const CRI(PodSandbox) *s = list->items[i];

		p->sandboxes[p->n_sandboxes++] = (struct rt_sandbox){
			.id = str_from(s->id),
			.ready = s->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY,
			.attempt = s->metadata ? s->metadata->attempt : 0,
			.created = { s->created_at },
		};
	}
	rt_sort_sandboxes(p->sandboxes, p->n_sandboxes);
	return NULL;
}

static struct err *rt_read_ips(struct cri *c, struct arena *a, struct rt_sandbox *s)
{
	const CRI(PodSandboxStatus) * st;
	struct str *more;

	TRY(cri_sandbox_status(c, a, s->id, &st));
	s->ready = st->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY;
	if (!st->network)
		return NULL;
	s->ip = str_from(st->network->ip);
	more = arena_array(a, st->network->n_additional_ips + 1, sizeof(*more));
	for (size_t i = 0; i < st->network->n_additional_ips; i++)
		more[s->n_more_ips++] = str_from(st->network->additional_ips[i]->ip);
	s->more_ips = more;
	return NULL;
}

struct err *rt_pod_read(struct cri *c, struct arena *a, struct str uid, struct rt_pod *ret)
{
	const CRI(ListContainersResponse) * list;
	struct rt_pod p = { 0 };

	TRY(rt_read_sandboxes(c, a, uid, &p));
	if (p.n_sandboxes && p.sandboxes[0].ready)
		TRY(rt_read_ips(c, a, &p.sandboxes[0]));
	TRY(cri_list_containers(c, a, uid, &list));
	p.containers = arena_array(a, list->n_containers + 1, sizeof(*p.containers));
	for (size_t i = 0; i < list->n_containers; i++) {
		const CRI(Container) *item = list->containers[i];
		const CRI(ContainerStatus) * st;
		struct err *e = cri_container_status(c, a, str_from(item->id), &st);

		if (e && err_is(e, ERR_NOT_FOUND)) {
			err_ignore(e, "removed meanwhile");
			continue;
		}
		TRY(e);
		rt_container_from(a, st, str_from(item->pod_sandbox_id),
				  &p.containers[p.n_containers]);
		p.containers[p.n_containers].image_id = str_from(item->image_ref);
		p.n_containers++;
	}
	rt_sort_containers(p.containers, p.n_containers);
	*ret = p;
	return NULL;
}

const struct rt_sandbox *rt_pod_sandbox(const struct rt_pod *p)
{
	return p->n_sandboxes && p->sandboxes[0].ready ? &p->sandboxes[0] : NULL;
}

const struct rt_container *rt_pod_container(const struct rt_pod *p, struct str name, size_t nth)
{
	for (size_t i = 0; i < p->n_containers; i++)
		if (str_eq(p->containers[i].name, name) && nth-- == 0)
			return &p->containers[i];
	return NULL;
}

bool rt_pod_any_running(const struct rt_pod *p)
{
	for (size_t i = 0; i < p->n_containers; i++)
		if (p->containers[i].state == RT_RUNNING || p->containers[i].state == RT_UNKNOWN)
			return true;
	return false;
}
