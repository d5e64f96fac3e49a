/* SPDX-License-Identifier: Apache-2.0 */

#include "node/dns-wire.h"

#include <ctype.h>

#include "base/arena.h"
#include "base/buf.h"

#define TTL_S       5
#define OPT_SIZE    11
#define EXTRA_MAX   8 /* records behind a question that we look at */
#define ANSWERS_MAX 64

static uint16_t dns_u16(const char *p)
{
	return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

static void dns_put_u16(struct buf *b, uint16_t v)
{
	buf_addc(b, (char)(v >> 8));
	buf_addc(b, (char)(v & 0xff));
}

static void dns_put_u32(struct buf *b, uint32_t v)
{
	dns_put_u16(b, (uint16_t)(v >> 16));
	dns_put_u16(b, (uint16_t)(v & 0xffff));
}

/* names */

/*
 * The name at *pos; false when it leaves the message. A pointer must lead to before the run of
 * labels it ends, so that every jump goes back and the walk ends.
 */
static bool dns_name_parse(struct str msg, size_t *pos, bool pointers, char *ret)
{
	size_t n = 0, at = *pos, run = *pos, end = 0;

	for (;;) {
		size_t len;

		if (at >= msg.n)
			return false;
		len = (uint8_t)msg.p[at++];
		if (!len)
			break;
		if ((len & 0xc0) == 0xc0) {
			if (!pointers || at >= msg.n)
				return false;
			if (!end)
				end = at + 1;
			at = (len & 0x3f) << 8 | (uint8_t)msg.p[at];
			if (at >= run)
				return false;
			run = at;
			continue;
		}
		if (len > 63 || at + len > msg.n || n + len + 1 > DNS_NAME_MAX - 1)
			return false;
		if (n)
			ret[n++] = '.';
		for (size_t i = 0; i < len; i++) {
			char c = (char)tolower((unsigned char)msg.p[at + i]);

			/* a dot or NUL inside a label would lie about the name */
			if (c == '.' || c == '\0')
				return false;
			ret[n++] = c;
		}
		at += len;
	}
	ret[n] = '\0';
	*pos = end ? end : at;
	return true;
}

static void dns_put_name(struct buf *b, struct str name)
{
	struct str label;

	while (str_split_next(&name, '.', &label)) {
		if (!label.n || label.n > 63)
			continue;
		buf_addc(b, (char)label.n);
		buf_add(b, label);
	}
	buf_addc(b, '\0');
}

/* records of a message we read */

struct dns_raw {
	char name[DNS_NAME_MAX + 1];
	uint16_t type, class;
	size_t data, data_end;
};

static bool dns_raw_parse(struct str msg, size_t *pos, struct dns_raw *ret)
{
	size_t at = *pos;

	if (!dns_name_parse(msg, &at, true, ret->name) || at + 10 > msg.n)
		return false;
	ret->type = dns_u16(msg.p + at);
	ret->class = dns_u16(msg.p + at + 2);
	ret->data = at + 10;
	ret->data_end = ret->data + dns_u16(msg.p + at + 8);
	*pos = ret->data_end;
	return ret->data_end <= msg.n;
}

/* queries */

/* EDNS, when an OPT record is among what follows the question. */
static bool dns_query_extra(struct str msg, struct dns_query *q)
{
	size_t pos = q->question_end;
	unsigned n = (unsigned)dns_u16(msg.p + 6) + dns_u16(msg.p + 8) + dns_u16(msg.p + 10);

	q->edns = false;
	q->limit = DNS_UDP_MIN;
	if (n > EXTRA_MAX)
		return false;
	while (n--) {
		struct dns_raw r;

		if (!dns_raw_parse(msg, &pos, &r))
			return false;
		if (r.type != DNS_OPT || r.name[0])
			continue;
		if (q->edns)
			return false;
		q->edns = true;
		q->limit = MAX(DNS_UDP_MIN, MIN(r.class, DNS_MESSAGE_MAX));
	}
	return true;
}

bool dns_query_parse(struct str msg, struct dns_query *ret)
{
	size_t pos = DNS_HEADER;

	if (msg.n < DNS_HEADER || (uint8_t)msg.p[2] & 0xf8 || dns_u16(msg.p + 4) != 1)
		return false;
	ret->id = dns_u16(msg.p);
	ret->recursion = msg.p[2] & 1;
	if (!dns_name_parse(msg, &pos, false, ret->name) || pos + 4 > msg.n)
		return false;
	ret->type = dns_u16(msg.p + pos);
	ret->class = dns_u16(msg.p + pos + 2);
	ret->question_end = pos + 4;
	return dns_query_extra(msg, ret);
}

void dns_refuse(struct buf *b, struct str msg)
{
	bool other;

	buf_clear(b);
	if (msg.n < DNS_HEADER || (uint8_t)msg.p[2] & 0x80)
		return;
	other = (uint8_t)msg.p[2] & 0x78;
	buf_add(b, str_sub(msg, 0, 2));
	buf_addc(b, (char)(0x80 | ((uint8_t)msg.p[2] & 0x79)));
	buf_addc(b, other ? DNS_NOTIMP : DNS_FORMERR);
	dns_put_u32(b, 0);
	dns_put_u32(b, 0);
}

static void dns_put_data(struct buf *b, const struct dns_record *r)
{
	switch (r->type) {
	case DNS_A:
		buf_add(b, str_make((const char *)r->ip, 4));
		return;
	case DNS_AAAA:
		buf_add(b, str_make((const char *)r->ip, 16));
		return;
	case DNS_SRV:
		dns_put_u16(b, 0);
		dns_put_u16(b, 100);
		dns_put_u16(b, r->port);
		break;
	case DNS_SOA:
		dns_put_name(b, r->target);
		dns_put_name(b, r->target);
		dns_put_u32(b, 1);    /* serial */
		dns_put_u32(b, 7200); /* refresh */
		dns_put_u32(b, 1800); /* retry */
		dns_put_u32(b, 86400);
		dns_put_u32(b, TTL_S); /* of what does not exist */
		return;
	case DNS_CNAME:
	case DNS_PTR:
	case DNS_OPT:
	case DNS_ANY:
		break;
	}
	dns_put_name(b, r->target);
}

static void dns_put_record(struct buf *b, const struct dns_record *r)
{
	struct buf data = { 0 };

	if (r->name.n)
		dns_put_name(b, r->name);
	else
		dns_put_u16(b, 0xc000 | DNS_HEADER); /* the question's name */
	dns_put_u16(b, (uint16_t)r->type);
	dns_put_u16(b, 1);
	dns_put_u32(b, TTL_S);
	dns_put_data(&data, r);
	dns_put_u16(b, (uint16_t)data.n);
	buf_add(b, buf_str(&data));
	buf_fini(&data);
}

void dns_answer(struct buf *b, struct str query, const struct dns_query *q, enum dns_rcode rcode,
		const struct dns_record *records, size_t n)
{
	size_t limit = q->limit - (q->edns ? OPT_SIZE : 0);
	size_t answers = 0, authority = 0;

	buf_clear(b);
	dns_put_u16(b, q->id);
	/* response, authoritative where it could answer */
	buf_addc(b, (char)((rcode == DNS_SERVFAIL || rcode == DNS_REFUSED ? 0x80 : 0x84) |
			   q->recursion));
	buf_addc(b, (char)(0x80 | rcode)); /* recursion available */
	dns_put_u16(b, 1);
	dns_put_u32(b, 0);
	dns_put_u16(b, q->edns ? 1 : 0);
	buf_add(b, str_sub(query, DNS_HEADER, q->question_end));
	for (size_t i = 0; i < n; i++) {
		size_t before = b->n;

		dns_put_record(b, &records[i]);
		if (b->n > limit) {
			b->n = before;
			b->p[2] |= 0x02;
			break;
		}
		if (records[i].type == DNS_SOA)
			authority++;
		else
			answers++;
	}
	b->p[6] = (char)(answers >> 8);
	b->p[7] = (char)(answers & 0xff);
	b->p[9] = (char)authority;
	if (q->edns) {
		buf_addc(b, '\0');
		dns_put_u16(b, DNS_OPT);
		dns_put_u16(b, DNS_MESSAGE_MAX);
		dns_put_u32(b, 0);
		dns_put_u16(b, 0);
	}
}

void dns_ask(struct buf *b, uint16_t id, struct str name, uint16_t type)
{
	buf_clear(b);
	dns_put_u16(b, id);
	dns_put_u16(b, 0x0100);
	dns_put_u16(b, 1);
	dns_put_u32(b, 0);
	dns_put_u16(b, 0);
	dns_put_name(b, name);
	dns_put_u16(b, type);
	dns_put_u16(b, 1);
}

/* answers of others */

bool dns_is_answer(struct str msg, struct str query, const struct dns_query *q)
{
	/* resolvers that change the question's case do so in vain; the same bytes come back */
	return msg.n >= q->question_end && dns_u16(msg.p) == dns_u16(query.p) &&
	       ((uint8_t)msg.p[2] & 0xf8) == 0x80 && dns_u16(msg.p + 4) == 1 &&
	       str_eq_nocase(str_sub(msg, DNS_HEADER, q->question_end),
			     str_sub(query, DNS_HEADER, q->question_end));
}

bool dns_is_truncated(struct str msg)
{
	return msg.n >= DNS_HEADER && msg.p[2] & 0x02;
}

enum dns_rcode dns_rcode_of(struct str msg)
{
	return msg.n >= DNS_HEADER ? (enum dns_rcode)(msg.p[3] & 0x0f) : DNS_SERVFAIL;
}

/* False: not for us, or broken. */
static bool dns_record_read(struct arena *a, struct str msg, const struct dns_raw *raw,
			    struct dns_record *ret)
{
	size_t size = raw->type == DNS_A ? 4 : 16, at = raw->data;
	char target[DNS_NAME_MAX + 1];

	*ret = (struct dns_record){ .type = (enum dns_type)raw->type };
	if (raw->class != 1)
		return false;
	if (raw->type == DNS_A || raw->type == DNS_AAAA) {
		if (raw->data_end - raw->data != size)
			return false;
		memcpy(ret->ip, msg.p + raw->data, size);
	} else if (raw->type == DNS_CNAME) {
		if (!dns_name_parse(str_sub(msg, 0, raw->data_end), &at, true, target))
			return false;
		ret->target = arena_str(a, str_from(target));
	} else {
		return false;
	}
	ret->name = arena_str(a, str_from(raw->name));
	return true;
}

bool dns_answer_parse(struct arena *a, struct str msg, struct dns_record **ret, size_t *ret_n)
{
	struct dns_record *v = arena_array(a, ANSWERS_MAX, sizeof(*v));
	size_t pos = DNS_HEADER, n = 0;
	struct dns_raw raw;

	if (msg.n < DNS_HEADER || dns_u16(msg.p + 4) != 1 ||
	    !dns_name_parse(msg, &pos, false, raw.name))
		return false;
	pos += 4;
	for (unsigned left = dns_u16(msg.p + 6); left; left--) {
		if (pos > msg.n || !dns_raw_parse(msg, &pos, &raw))
			return false;
		if (n < ANSWERS_MAX && dns_record_read(a, msg, &raw, &v[n]))
			n++;
	}
	*ret = v;
	*ret_n = n;
	return true;
}
