/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/launcher/dhcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "json/json.h"

/* RFC 2131: the fixed part, the magic cookie, then options. */
#define DHCP_OP       0
#define DHCP_HLEN     2
#define DHCP_XID      4
#define DHCP_FLAGS    10
#define DHCP_YIADDR   16
#define DHCP_SIADDR   20
#define DHCP_GIADDR   24
#define DHCP_CHADDR   28
#define DHCP_COOKIE   236
#define DHCP_OPTIONS  240
#define DHCP_LEASE    86400
#define DHCP_DISCOVER 1
#define DHCP_OFFER    2
#define DHCP_REQUEST  3
#define DHCP_ACK      5
#define DHCP_NAK      6
#define DHCP_INFORM   8

enum {
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_DNS = 6,
	OPT_HOSTNAME = 12,
	OPT_DOMAIN = 15,
	OPT_MTU = 26,
	OPT_NTP = 42,
	OPT_REQUESTED = 50,
	OPT_LEASE = 51,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_TFTP = 66,
	OPT_BOOT_FILE = 67,
	OPT_SEARCH = 119,
	OPT_ROUTES = 121,
	OPT_END = 255,
};

static const uint8_t dhcp_cookie[4] = { 99, 130, 83, 99 };

struct dhcp {
	struct io_source src;
	struct dhcp_config c;
	int fd;
};

/* configuration */

static bool dhcp_ip(struct str s, uint8_t *ret)
{
	char z[16];

	if (s.n == 0 || s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return inet_pton(AF_INET, z, ret) == 1;
}

static void dhcp_mask(unsigned prefix, uint8_t *ret)
{
	uint32_t m = prefix ? htonl(~UINT32_C(0) << (32 - prefix)) : 0;

	memcpy(ret, &m, 4);
}

static bool dhcp_mac(struct str s, uint8_t *ret)
{
	if (s.n != 17)
		return false;
	for (unsigned i = 0; i < 6; i++) {
		char hex[3] = { s.p[i * 3], s.p[i * 3 + 1], '\0' };
		char *end;
		unsigned long v = strtoul(hex, &end, 16);

		if (end != hex + 2 || (i < 5 && s.p[i * 3 + 2] != ':'))
			return false;
		ret[i] = (uint8_t)v;
	}
	return true;
}

static void dhcp_parse_resolv(struct dhcp_config *c, struct str text)
{
	struct str line;

	while (str_split_next(&text, '\n', &line)) {
		line = str_trim(line);
		if (str_strip_prefix(&line, STR("nameserver "))) {
			if (c->n_dns < ARRAY_LEN(c->dns) &&
			    dhcp_ip(str_trim(line), c->dns[c->n_dns]))
				c->n_dns++;
		} else if (str_strip_prefix(&line, STR("search "))) {
			struct str word;

			c->n_search = 0;
			while (str_split_next(&line, ' ', &word)) {
				if (!str_empty(word) && c->n_search < ARRAY_LEN(c->search))
					c->search[c->n_search++] = word;
			}
		}
	}
}

static bool dhcp_parse_route(const struct json *v, struct dhcp_route *ret)
{
	struct str rest = json_str_at(v, "dst"), addr;
	uint64_t prefix;

	if (!str_cut(&rest, '/', &addr) || !str_to_u64(rest, &prefix) || prefix > 32)
		return false;
	ret->prefix = (uint8_t)prefix;
	memset(ret->via, 0, 4);
	return dhcp_ip(addr, ret->dst) &&
	       (str_empty(json_str_at(v, "via")) || dhcp_ip(json_str_at(v, "via"), ret->via));
}

static void dhcp_parse_lists(const struct json *v, struct dhcp_config *c)
{
	json_for_each(it, json_get(v, "routes"))
	{
		if (c->n_routes < ARRAY_LEN(c->routes) &&
		    dhcp_parse_route(it.val, &c->routes[c->n_routes]))
			c->n_routes++;
	}
	json_for_each(it, json_get(v, "ntpServers"))
	{
		if (c->n_ntp < ARRAY_LEN(c->ntp) && dhcp_ip(json_as_str(it.val), c->ntp[c->n_ntp]))
			c->n_ntp++;
	}
	json_for_each(it, json_get(v, "privateOptions"))
	{
		int64_t option = json_int_at(it.val, "option", 0);

		if (c->n_priv == ARRAY_LEN(c->priv) || option < 224 || option > 254)
			continue;
		c->priv[c->n_priv].option = (uint8_t)option;
		c->priv[c->n_priv++].value = json_str_at(it.val, "value");
	}
}

struct err *dhcp_config_parse(struct arena *a UNUSED, const struct json *v, struct str resolv_conf,
			      struct dhcp_config *ret)
{
	struct dhcp_config c = {
		.ifname = json_str_at(v, "ifname"),
		.hostname = json_str_at(v, "hostname"),
		.boot_file = json_str_at(v, "bootFileName"),
		.tftp_server = json_str_at(v, "tftpServerName"),
	};
	int64_t prefix = json_int_at(v, "prefix", -1), mtu = json_int_at(v, "mtu", 0);

	if (str_empty(c.ifname) || c.ifname.n >= IFNAMSIZ || prefix < 0 || prefix > 32 ||
	    !dhcp_ip(json_str_at(v, "address"), c.address) ||
	    !dhcp_ip(json_str_at(v, "server"), c.server) || !dhcp_mac(json_str_at(v, "mac"), c.mac))
		return err_new(ERR_BAD_REQUEST, "bad DHCP configuration");
	dhcp_mask((unsigned)prefix, c.mask);
	c.has_router = dhcp_ip(json_str_at(v, "router"), c.router);
	c.mtu = mtu > 0 && mtu < 65536 ? (uint16_t)mtu : 0;
	dhcp_parse_lists(v, &c);
	dhcp_parse_resolv(&c, resolv_conf);
	*ret = c;
	return NULL;
}

/* packets */

struct dhcp_out {
	uint8_t *p;
	size_t n;
};

static void dhcp_put(struct dhcp_out *o, uint8_t option, const void *p, size_t n)
{
	/* What does not fit is left out; the order below puts what matters first. */
	if (n == 0 || n > 255 || o->n + 2 + n + 1 > DHCP_MAX_PACKET - 28)
		return;
	o->p[o->n++] = option;
	o->p[o->n++] = (uint8_t)n;
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void dhcp_put_str(struct dhcp_out *o, uint8_t option, struct str s)
{
	dhcp_put(o, option, s.p, s.n);
}

static void dhcp_put_search(struct dhcp_out *o, const struct dhcp_config *c)
{
	uint8_t out[255];
	size_t n = 0;

	for (size_t i = 0; i < c->n_search; i++) {
		struct str rest = c->search[i], label;
		size_t start = n;

		while (str_split_next(&rest, '.', &label)) {
			if (str_empty(label))
				continue;
			if (label.n > 63 || n + label.n + 2 > sizeof(out)) {
				dhcp_put(o, OPT_SEARCH, out, start);
				return;
			}
			out[n++] = (uint8_t)label.n;
			memcpy(out + n, label.p, label.n);
			n += label.n;
		}
		/* "." has no labels: nothing to search */
		if (n > start)
			out[n++] = 0;
	}
	dhcp_put(o, OPT_SEARCH, out, n);
}

static void dhcp_put_routes(struct dhcp_out *o, const struct dhcp_config *c)
{
	uint8_t out[ARRAY_LEN(c->routes) * 9 + 9];
	size_t n = 0;

	if (!c->n_routes)
		return;
	for (size_t i = 0; i < c->n_routes; i++) {
		unsigned octets = (c->routes[i].prefix + 7u) / 8;

		out[n++] = c->routes[i].prefix;
		memcpy(out + n, c->routes[i].dst, octets);
		n += octets;
		memcpy(out + n, c->routes[i].via, 4);
		n += 4;
	}
	/* A client that takes option 121 ignores the router: say it here, too. */
	if (c->has_router) {
		out[n++] = 0;
		memcpy(out + n, c->router, 4);
		n += 4;
	}
	dhcp_put(o, OPT_ROUTES, out, n);
}

static void dhcp_put_config(struct dhcp_out *o, const struct dhcp_config *c)
{
	uint8_t mtu[2] = { (uint8_t)(c->mtu >> 8), (uint8_t)c->mtu };

	dhcp_put(o, OPT_MASK, c->mask, 4);
	if (c->has_router)
		dhcp_put(o, OPT_ROUTER, c->router, 4);
	dhcp_put_routes(o, c);
	dhcp_put(o, OPT_DNS, c->dns, c->n_dns * 4);
	if (c->mtu)
		dhcp_put(o, OPT_MTU, mtu, 2);
	dhcp_put_str(o, OPT_HOSTNAME, c->hostname);
	if (c->n_search)
		dhcp_put_str(o, OPT_DOMAIN, c->search[0]);
	dhcp_put_search(o, c);
	dhcp_put(o, OPT_NTP, c->ntp, c->n_ntp * 4);
	dhcp_put_str(o, OPT_TFTP, c->tftp_server);
	dhcp_put_str(o, OPT_BOOT_FILE, c->boot_file);
	for (size_t i = 0; i < c->n_priv; i++)
		dhcp_put_str(o, c->priv[i].option, c->priv[i].value);
}

/* An option of a request, at least min bytes long; NULL when absent. */
static const uint8_t *dhcp_find(const uint8_t *req, size_t n, uint8_t option, size_t min)
{
	size_t at = DHCP_OPTIONS;

	while (at < n && req[at] != OPT_END) {
		if (req[at] == 0) {
			at++;
			continue;
		}
		if (at + 2 > n || at + 2 + req[at + 1] > n)
			return NULL;
		if (req[at] == option)
			return req[at + 1] >= min ? req + at + 2 : NULL;
		at += 2u + req[at + 1];
	}
	return NULL;
}

static uint8_t dhcp_reply_type(const struct dhcp_config *c, const uint8_t *req, size_t n)
{
	const uint8_t *type = dhcp_find(req, n, OPT_TYPE, 1);
	const uint8_t *want = dhcp_find(req, n, OPT_REQUESTED, 4);
	const uint8_t *server = dhcp_find(req, n, OPT_SERVER, 4);

	if (!type)
		return 0;
	switch (*type) {
	case DHCP_DISCOVER:
		return DHCP_OFFER;
	case DHCP_REQUEST:
		if (server && memcmp(server, c->server, 4) != 0)
			return 0;
		return want && memcmp(want, c->address, 4) != 0 ? DHCP_NAK : DHCP_ACK;
	case DHCP_INFORM:
		return DHCP_ACK;
	default:
		return 0;
	}
}

size_t dhcp_answer(const struct dhcp_config *c, const uint8_t *req, size_t n, uint8_t *reply)
{
	uint32_t lease = htonl(DHCP_LEASE);
	struct dhcp_out o = { .p = reply, .n = DHCP_OPTIONS };
	uint8_t type;

	if (n < DHCP_OPTIONS || req[DHCP_OP] != 1 || req[DHCP_HLEN] != 6 ||
	    memcmp(req + DHCP_COOKIE, dhcp_cookie, 4) != 0 ||
	    memcmp(req + DHCP_CHADDR, c->mac, 6) != 0)
		return 0;
	type = dhcp_reply_type(c, req, n);
	if (!type)
		return 0;
	memset(reply, 0, DHCP_OPTIONS);
	memcpy(reply, req, 4);
	reply[DHCP_OP] = 2;
	memcpy(reply + DHCP_XID, req + DHCP_XID, 4);
	memcpy(reply + DHCP_FLAGS, req + DHCP_FLAGS, 2);
	memcpy(reply + DHCP_GIADDR, req + DHCP_GIADDR, 4);
	memcpy(reply + DHCP_CHADDR, req + DHCP_CHADDR, 16);
	memcpy(reply + DHCP_COOKIE, dhcp_cookie, 4);
	memcpy(reply + DHCP_SIADDR, c->server, 4);
	dhcp_put(&o, OPT_TYPE, &type, 1);
	dhcp_put(&o, OPT_SERVER, c->server, 4);
	if (type != DHCP_NAK) {
		memcpy(reply + DHCP_YIADDR, c->address, 4);
		dhcp_put(&o, OPT_LEASE, &lease, 4);
		dhcp_put_config(&o, c);
	}
	reply[o.n++] = OPT_END;
	return o.n;
}

/* the socket */

static void dhcp_readable(struct io_source *src, unsigned events UNUSED)
{
	struct dhcp *d = container_of(src, struct dhcp, src);
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(68),
		.sin_addr.s_addr = htonl(INADDR_BROADCAST),
	};
	uint8_t req[DHCP_MAX_PACKET], reply[DHCP_MAX_PACKET];
	ssize_t n = recv(d->fd, req, sizeof(req), MSG_DONTWAIT);
	size_t out = n > 0 ? dhcp_answer(&d->c, req, (size_t)n, reply) : 0;

	/* Always by broadcast: the guest has no address to send to. A lost answer is asked for
	 * again. */
	if (out && sendto(d->fd, reply, out, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to)) < 0)
		return;
}

static struct err *dhcp_open(const struct dhcp_config *c, int fd)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(67) };
	const int on = 1;
	char ifname[IFNAMSIZ] = { 0 };

	memcpy(ifname, c->ifname.p, c->ifname.n);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, sizeof(ifname)) < 0)
		return err_errno(errno, "DHCP on %s", ifname);
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return err_errno(errno, "DHCP on %s: port 67", ifname);
	return NULL;
}

struct err *dhcp_start(struct loop *l, const struct dhcp_config *c, struct dhcp **ret)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct dhcp *d;
	struct err *e;

	if (fd < 0)
		return err_errno(errno, "DHCP socket");
	e = dhcp_open(c, fd);
	if (e) {
		close(fd);
		return e;
	}
	d = mem_new(struct dhcp);
	d->c = *c;
	d->fd = fd;
	d->src.fn = dhcp_readable;
	io_source_add(l, &d->src, fd, IO_READABLE);
	*ret = d;
	return NULL;
}

struct dhcp *dhcp_free(struct dhcp *d)
{
	if (!d)
		return NULL;
	io_source_del(&d->src);
	close(d->fd);
	free(d);
	return NULL;
}
