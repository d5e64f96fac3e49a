/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One UDP socket towards the Pods, one towards the resolver of the host. A question that is not
 * ours goes there with an id of our own, so that answers find their way back:
 *
 *     Pod --id 7--> slot 42 --id 42--> resolver --id 42--> slot 42 --id 7--> Pod
 */

#include "node/dns-server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "client/informer.h"
#include "io/file.h"
#include "io/loop.h"
#include "node/agent.h"
#include "json/json.h"

#define SLOTS      1024
#define SLOT_MS    5000
#define PACKET_MAX 4096
#define TURN_MAX   64 /* packets in one turn of the loop */
#define RESOLV_MAX 65536

struct dns_slot {
	struct sockaddr_in client;
	uint16_t client_id, id;
	struct mono until; /* 0: free */
};

struct dns_server {
	struct agent *agent;
	int fd, up_fd; /* up_fd -1: the host has no resolver */
	struct io_source src, up_src;
	struct dns_slot slots[SLOTS];
	size_t next;
	char packet[PACKET_MAX];
};

/* our own names */

struct dns_slices {
	struct arena *a;
	struct json *list;
	struct str service;
};

static bool dns_pick_slice(const struct obj *o, void *ctx)
{
	struct dns_slices *s = ctx;
	struct str of = obj_label(o, STR("kubernetes.io/service-name"));

	if (str_eq(of, s->service))
		json_push(s->list, json_copy(s->a, obj_tree(o)));
	return true;
}

static struct dns_records dns_resolve(struct dns_server *s, struct arena *a,
				      const struct dns_cluster_name *name, enum dns_type type)
{
	const struct obj *svc = informer_find(s->agent->services, name->ns, name->service);
	struct dns_slices slices = { a, json_array(a), name->service };
	const struct json *tree = svc ? obj_tree(svc) : NULL;

	if (str_eqz(json_str_at(tree, "spec.clusterIP"), "None"))
		informer_each(s->agent->slices, name->ns, dns_pick_slice, &slices);
	return dns_lookup(a, name, type, tree, slices.list);
}

/* the way to the resolver and back */

static void dns_send(int fd, struct str msg, const struct sockaddr_in *to)
{
	/* a lost answer is asked for again */
	if (sendto(fd, msg.p, msg.n, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof(*to)) < 0)
		log_debug(NULL, "a DNS answer was not sent");
}

static void dns_forward(struct dns_server *s, struct str msg, const struct dns_query *q,
			const struct sockaddr_in *from)
{
	struct dns_slot *slot = &s->slots[s->next];
	struct buf b = { 0 };

	if (s->up_fd < 0) {
		dns_answer(&b, msg, q, DNS_SERVFAIL, NULL, 0);
		dns_send(s->fd, buf_str(&b), from);
		buf_fini(&b);
		return;
	}
	s->next = (s->next + 1) % SLOTS;
	slot->client = *from;
	slot->client_id = q->id;
	slot->id = (uint16_t)rand_below(65536);
	slot->until = mono_add_ms(mono_now(), SLOT_MS);
	buf_add(&b, msg);
	b.p[0] = (char)(slot->id >> 8);
	b.p[1] = (char)(slot->id & 0xff);
	if (send(s->up_fd, b.p, b.n, MSG_DONTWAIT) < 0)
		slot->until.ns = 0;
	buf_fini(&b);
}

static void dns_back(struct io_source *src, unsigned events)
{
	struct dns_server *s = container_of(src, struct dns_server, up_src);

	(void)events;
	for (int turn = 0; turn < TURN_MAX; turn++) {
		ssize_t n = recv(s->up_fd, s->packet, sizeof(s->packet), MSG_DONTWAIT);
		uint16_t id;

		if (n < 2)
			return;
		id = (uint16_t)((uint8_t)s->packet[0] << 8 | (uint8_t)s->packet[1]);
		for (size_t i = 0; i < SLOTS; i++) {
			struct dns_slot *slot = &s->slots[i];

			if (slot->id != id || slot->until.ns < mono_now().ns)
				continue;
			slot->until.ns = 0;
			s->packet[0] = (char)(slot->client_id >> 8);
			s->packet[1] = (char)(slot->client_id & 0xff);
			dns_send(s->fd, str_make(s->packet, (size_t)n), &slot->client);
			break;
		}
	}
}

static void dns_question(struct dns_server *s, struct str msg, const struct sockaddr_in *from)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_cluster_name name;
	struct dns_records r = { .rcode = DNS_NXDOMAIN };
	struct dns_query q;
	struct str qname;
	struct buf b = { 0 };

	if (!dns_query_parse(msg, &q))
		return;
	qname = str_from(q.name);
	if (!str_has_suffix(qname, STR("." CLUSTER_DOMAIN)) && !str_eqz(qname, CLUSTER_DOMAIN)) {
		dns_forward(s, msg, &q, from);
		return;
	}
	if (q.class == 1 && dns_cluster_name_parse(qname, &name))
		r = dns_resolve(s, a, &name, (enum dns_type)q.type);
	dns_answer(&b, msg, &q, r.rcode, r.v, r.n);
	dns_send(s->fd, buf_str(&b), from);
	buf_fini(&b);
}

static void dns_readable(struct io_source *src, unsigned events)
{
	struct dns_server *s = container_of(src, struct dns_server, src);

	(void)events;
	for (int turn = 0; turn < TURN_MAX; turn++) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s->fd, s->packet, sizeof(s->packet), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (len == sizeof(from) && from.sin_family == AF_INET)
			dns_question(s, str_make(s->packet, (size_t)n), &from);
	}
}

/* start */

static int dns_host_resolver(struct agent *ag)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(53) };
	struct str text = STR_EMPTY, line;
	int fd;

	err_ignore(file_read(a, "/etc/resolv.conf", RESOLV_MAX, &text), "none: no resolver");
	while (str_split_next(&text, '\n', &line)) {
		line = str_trim(line);
		if (!str_strip_prefix(&line, STR("nameserver")))
			continue;
		line = str_trim(line);
		if (!str_eq(line, ag->cfg.ip) &&
		    inet_pton(AF_INET, arena_strz(a, line), &to.sin_addr) == 1)
			break;
		to.sin_addr.s_addr = 0;
	}
	if (!to.sin_addr.s_addr)
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

struct err *dns_server_start(struct agent *ag)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(53) };
	struct dns_server *s;
	int fd, rc;

	if (inet_pton(AF_INET, arena_strz(a, ag->cfg.ip), &at.sin_addr) != 1)
		return err_new(ERR_INVALID, "'%.*s' is no IPv4 address", STR_ARG(ag->cfg.ip));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(errno, "DNS socket");
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
		rc = errno;
		close(fd);
		return err_errno(rc, "DNS on %.*s:53", STR_ARG(ag->cfg.ip));
	}
	s = mem_new(struct dns_server);
	s->agent = ag;
	s->fd = fd;
	s->up_fd = dns_host_resolver(ag);
	s->src.fn = dns_readable;
	s->up_src.fn = dns_back;
	io_source_add(ag->loop, &s->src, s->fd, IO_READABLE);
	if (s->up_fd >= 0)
		io_source_add(ag->loop, &s->up_src, s->up_fd, IO_READABLE);
	ag->dns = s;
	return NULL;
}
