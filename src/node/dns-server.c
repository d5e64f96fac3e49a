/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Questions about cluster.local are answered at once, from the informers. All others are the
 * host's resolvers' to answer, and a fiber waits for them: one for each UDP question, one for each
 * TCP connection, of both a limited number. An ExternalName needs both ways: its CNAME is ours,
 * the addresses of its target come from there.
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
#include "io/fiber.h"
#include "io/loop.h"
#include "io/stream.h"
#include "node/agent.h"
#include "node/dns-forward.h"
#include "json/json.h"

#define PACKET_MAX  4096 /* a question */
#define TURN_MAX    64   /* packets in one turn of the loop */
#define JOBS_MAX    256
#define CONNS_MAX   64
#define CONN_MS     10000 /* a connection without a question */
#define CONN_ALL_MS 120000
#define PAUSE_MS    100

struct dns_server {
	struct agent *agent;
	int udp_fd, tcp_fd;
	struct io_source udp, tcp;
	struct timer pause;
	unsigned jobs, conns;
	char packet[PACKET_MAX];
};

/* our own names */

struct dns_pick {
	struct arena *a;
	struct json *list;
	struct str service;
};

static bool dns_pick_slice(const struct obj *o, void *ctx)
{
	struct dns_pick *p = ctx;

	if (!p->service.p || str_eq(obj_label(o, STR("kubernetes.io/service-name")), p->service))
		json_push(p->list, json_copy(p->a, obj_tree(o)));
	return true;
}

static struct dns_records dns_find(struct dns_server *s, struct arena *a,
				   const struct dns_cluster_name *name, enum dns_type type)
{
	const struct obj *svc = informer_find(s->agent->services, name->ns, name->service);
	struct dns_pick pick = { a, json_array(a), name->service };

	if (svc)
		informer_each(s->agent->slices, name->ns, dns_pick_slice, &pick);
	/* a copy: what it leads to outlives a wait for the host's resolver */
	return dns_lookup(a, name, type, svc ? json_copy(a, obj_tree(svc)) : NULL, pick.list);
}

static bool dns_any(const struct obj *o, void *ctx)
{
	(void)o;
	*(bool *)ctx = true;
	return false;
}

/* A name that is none of a Service or Pod, but may lie above some. */
static enum dns_rcode dns_between(struct dns_server *s, struct str name)
{
	bool found = false;

	if (str_eqz(name, CLUSTER_DOMAIN) || str_eqz(name, "svc." CLUSTER_DOMAIN) ||
	    str_eqz(name, "pod." CLUSTER_DOMAIN))
		return DNS_NOERROR;
	if (str_strip_suffix(&name, STR(".svc." CLUSTER_DOMAIN)) ||
	    str_strip_suffix(&name, STR(".pod." CLUSTER_DOMAIN)))
		informer_each(s->agent->services, name, dns_any, &found);
	return found ? DNS_NOERROR : DNS_NXDOMAIN;
}

static bool dns_is_ours(struct str name)
{
	return str_has_suffix(name, STR("." CLUSTER_DOMAIN)) || str_eqz(name, CLUSTER_DOMAIN);
}

static struct dns_records dns_of_name(struct dns_server *s, struct arena *a, struct str qname,
				      enum dns_type type)
{
	struct dns_cluster_name name;
	struct dns_records r = { 0 };

	if (!informer_synced(s->agent->services) || !informer_synced(s->agent->slices))
		r.rcode = DNS_SERVFAIL;
	else if (dns_cluster_name_parse(qname, &name))
		r = dns_find(s, a, &name, type);
	else
		r.rcode = dns_between(s, qname);
	return r;
}

static bool dns_pick_service(const struct obj *o, void *ctx)
{
	struct dns_pick *p = ctx;

	if (!str_eq(json_str_at(obj_tree(o), "spec.clusterIP"), p->service))
		return true;
	json_push(p->list, json_copy(p->a, obj_tree(o)));
	return false;
}

/* Of an address: its Service, or the Service whose endpoint it is. False: not of this cluster. */
static bool dns_of_address(struct dns_server *s, struct arena *a, struct str ip, enum dns_type type,
			   struct dns_records *ret)
{
	struct dns_pick services = { a, json_array(a), ip };
	struct dns_pick slices = { .a = a, .list = json_array(a) };

	*ret = (struct dns_records){ .rcode = DNS_SERVFAIL };
	if (!informer_synced(s->agent->services) || !informer_synced(s->agent->slices))
		return true;
	informer_each(s->agent->services, STR_EMPTY, dns_pick_service, &services);
	if (!json_len(services.list))
		informer_each(s->agent->slices, STR_EMPTY, dns_pick_slice, &slices);
	*ret = dns_reverse(a, ip, services.list, slices.list);
	if (ret->n && type != DNS_PTR && type != DNS_ANY)
		ret->n = 0;
	return ret->rcode == DNS_NOERROR || dns_cidr_has(a, s->agent->cfg.service_cidr, ip) ||
	       dns_cidr_has(a, s->agent->cfg.pod_cidr, ip);
}

/* answers */

/* Adds what the CNAME in r leads to; its records carry the target's name. */
static SUSPENDS struct err *dns_chase(struct dns_server *s, struct arena *a,
				      const struct dns_query *q, struct dns_records *r)
{
	struct str target = r->v[0].target, answer;
	struct dns_records more = { 0 };
	_cleanup_buf_ struct buf b = { 0 };
	struct dns_record *v;

	if (dns_is_ours(target)) {
		more = dns_of_name(s, a, target, (enum dns_type)q->type);
		for (size_t i = 0; i < more.n; i++)
			if (!more.v[i].name.n)
				more.v[i].name = target;
	} else {
		struct dns_query asked;

		dns_ask(&b, (uint16_t)rand_below(65536), target, q->type);
		if (!dns_query_parse(buf_str(&b), &asked))
			return err_new(ERR_INVALID, "externalName is not a name");
		TRY(dns_forward(a, s->agent->cfg.ip, buf_str(&b), &asked, false, &answer));
		more.rcode = answer.n ? dns_rcode_of(answer) : DNS_SERVFAIL;
		if (answer.n && !dns_answer_parse(a, answer, &more.v, &more.n))
			more.rcode = DNS_SERVFAIL;
	}
	v = arena_array(a, more.n + 1, sizeof(*v));
	v[0] = r->v[0];
	if (more.n)
		memcpy(v + 1, more.v, more.n * sizeof(*v));
	*r = (struct dns_records){ v, more.n + 1, more.rcode };
	return NULL;
}

enum dns_way { DNS_LOCAL, DNS_CHASE, DNS_FORWARD };

static enum dns_way dns_route(struct dns_server *s, struct arena *a, const struct dns_query *q,
			      struct dns_records *ret)
{
	struct str name = str_from(q->name), ip;

	*ret = (struct dns_records){ .rcode = DNS_NXDOMAIN };
	if (q->class != 1)
		return dns_is_ours(name) ? DNS_LOCAL : DNS_FORWARD;
	if (dns_reverse_name(a, name, &ip))
		return dns_of_address(s, a, ip, (enum dns_type)q->type, ret) ? DNS_LOCAL
									     : DNS_FORWARD;
	if (!dns_is_ours(name))
		return DNS_FORWARD;
	*ret = dns_of_name(s, a, name, (enum dns_type)q->type);
	if (ret->n && ret->v[0].type == DNS_CNAME && q->type != DNS_CNAME && q->type != DNS_ANY)
		return DNS_CHASE;
	if (!ret->n && ret->rcode != DNS_SERVFAIL) {
		ret->v = arena_new_obj(a, struct dns_record);
		*ret->v = (struct dns_record){ .type = DNS_SOA,
					       .name = STR(CLUSTER_DOMAIN),
					       .target = STR("ns.dns." CLUSTER_DOMAIN) };
		ret->n = 1;
	}
	return DNS_LOCAL;
}

/* Leaves b empty when there is nothing to say. */
static SUSPENDS struct err *dns_reply(struct dns_server *s, struct arena *a, struct str msg,
				      const struct dns_query *q, bool tcp, struct buf *b)
{
	struct dns_records r;
	struct str answer = STR_EMPTY;

	switch (dns_route(s, a, q, &r)) {
	case DNS_FORWARD:
		TRY(dns_forward(a, s->agent->cfg.ip, msg, q, tcp, &answer));
		if (answer.n) {
			buf_clear(b);
			buf_add(b, answer);
			return NULL;
		}
		r = (struct dns_records){ .rcode = DNS_SERVFAIL };
		break;
	case DNS_CHASE:
		TRY(dns_chase(s, a, q, &r));
		break;
	case DNS_LOCAL:
		break;
	}
	dns_answer(b, msg, q, r.rcode, r.v, r.n);
	return NULL;
}

/* UDP */

static void dns_send(struct dns_server *s, const struct buf *b, const struct sockaddr_in *to)
{
	/* a lost answer is asked for again */
	if (b->n && sendto(s->udp_fd, b->p, b->n, MSG_DONTWAIT, (const struct sockaddr *)to,
			   sizeof(*to)) < 0)
		log_debug(NULL, "a DNS answer was not sent");
}

struct dns_job {
	struct dns_server *server;
	struct arena *a; /* owns this */
	struct str msg;
	struct dns_query q;
	struct sockaddr_in from;
};

static struct err *dns_job_main(void *arg)
{
	struct dns_job *job = arg;
	struct dns_server *s = job->server;
	_cleanup_buf_ struct buf b = { 0 };
	struct err *e = dns_reply(s, job->a, job->msg, &job->q, false, &b);

	if (e)
		dns_answer(&b, job->msg, &job->q, DNS_SERVFAIL, NULL, 0);
	dns_send(s, &b, &job->from);
	s->jobs--;
	arena_free(job->a);
	err_ignore(e, "the client knows");
	return NULL;
}

static void dns_job_start(struct dns_server *s, struct str msg, const struct dns_query *q,
			  const struct sockaddr_in *from)
{
	struct arena *a = arena_new();
	struct dns_job *job = arena_new_obj(a, struct dns_job);

	*job = (struct dns_job){ s, a, arena_str(a, msg), *q, *from };
	s->jobs++;
	fiber_unref(fiber_spawn(s->agent->loop, "dns", dns_job_main, job));
}

static void dns_question(struct dns_server *s, struct str msg, const struct sockaddr_in *from)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	struct dns_records r;
	struct dns_query q;

	if (!dns_query_parse(msg, &q))
		dns_refuse(&b, msg);
	else if (dns_route(s, a, &q, &r) == DNS_LOCAL)
		dns_answer(&b, msg, &q, r.rcode, r.v, r.n);
	else if (s->jobs < JOBS_MAX)
		dns_job_start(s, msg, &q, from);
	else
		dns_answer(&b, msg, &q, DNS_SERVFAIL, NULL, 0);
	dns_send(s, &b, from);
}

static void dns_readable(struct io_source *src, unsigned events)
{
	struct dns_server *s = container_of(src, struct dns_server, udp);

	(void)events;
	for (int turn = 0; turn < TURN_MAX; turn++) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s->udp_fd, s->packet, sizeof(s->packet), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		if (len == sizeof(from) && from.sin_family == AF_INET)
			dns_question(s, str_make(s->packet, (size_t)n), &from);
	}
}

/* TCP: questions one after the other, each behind its length */

struct dns_conn {
	struct dns_server *server;
	struct stream *stream;
};

static SUSPENDS struct err *dns_conn_question(struct dns_conn *c, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_buf_ struct buf b = { 0 };
	char *p = arena_array(a, n + 1, 1), head[2];
	struct str msg = { p, n };
	struct dns_query q;

	TRY(stream_read_full(c->stream, p, n));
	if (dns_query_parse(msg, &q)) {
		q.limit = DNS_TCP_MAX;
		TRY(dns_reply(c->server, a, msg, &q, true, &b));
	} else {
		dns_refuse(&b, msg);
	}
	if (!b.n || b.n > UINT16_MAX)
		return err_new(ERR_PROTOCOL, "not a question");
	head[0] = (char)(b.n >> 8);
	head[1] = (char)(b.n & 0xff);
	return stream_write(c->stream, arena_cat(a, str_make(head, 2), buf_str(&b)));
}

static SUSPENDS struct err *dns_conn_serve(struct dns_conn *c)
{
	for (;;) {
		struct mono old = fiber_limit_ms(CONN_MS);
		uint8_t head[2];
		size_t n;

		TRY(stream_read_full(c->stream, head, 2));
		n = (size_t)(head[0] << 8 | head[1]);
		if (n < DNS_HEADER || n > PACKET_MAX)
			return err_new(ERR_PROTOCOL, "a DNS question of %zu bytes", n);
		TRY(dns_conn_question(c, n));
		fiber_restore_deadline(old);
	}
}

static struct err *dns_conn_main(void *arg)
{
	struct dns_conn *c = arg;
	struct mono old = fiber_limit_ms(CONN_ALL_MS);

	(void)old;
	err_ignore(dns_conn_serve(c), "the client went, or broke the protocol");
	stream_free(c->stream);
	c->server->conns--;
	free(c);
	return NULL;
}

static void dns_resume(struct timer *t)
{
	io_source_set(&container_of(t, struct dns_server, pause)->tcp, IO_READABLE);
}

static void dns_accept(struct io_source *src, unsigned events)
{
	struct dns_server *s = container_of(src, struct dns_server, tcp);
	struct dns_conn *c;
	int fd = -1;

	(void)events;
	if (s->conns < CONNS_MAX)
		fd = accept4(s->tcp_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* the backlog holds what we have no room for */
		io_source_set(&s->tcp, 0);
		timer_start(s->agent->loop, &s->pause, PAUSE_MS);
		return;
	}
	c = mem_new(struct dns_conn);
	c->server = s;
	c->stream = stream_from_fd(fd);
	s->conns++;
	fiber_unref(fiber_spawn(s->agent->loop, "dns-tcp", dns_conn_main, c));
}

/* start */

static struct err *dns_bind(struct agent *ag, struct arena *a, int *ret)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(53) };
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
	*ret = fd;
	return NULL;
}

struct err *dns_server_start(struct agent *ag)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dns_server *s;
	int udp_fd, tcp_fd;
	struct err *e;

	TRY(dns_bind(ag, a, &udp_fd));
	e = stream_listen(arena_fmt(a, STR_FMT ":53", STR_ARG(ag->cfg.ip)), &tcp_fd);
	if (e) {
		close(udp_fd);
		return e;
	}
	s = mem_new(struct dns_server);
	s->agent = ag;
	s->udp_fd = udp_fd;
	s->tcp_fd = tcp_fd;
	s->udp.fn = dns_readable;
	s->tcp.fn = dns_accept;
	s->pause.fn = dns_resume;
	io_source_add(ag->loop, &s->udp, s->udp_fd, IO_READABLE);
	io_source_add(ag->loop, &s->tcp, s->tcp_fd, IO_READABLE);
	ag->dns = s;
	return NULL;
}
