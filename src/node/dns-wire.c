/* SPDX-License-Identifier: Apache-2.0 */

#include "node/dns-wire.h"

#include <ctype.h>

#include "base/buf.h"

#define HEADER 12
#define TTL_S  5

static uint16_t dns_u16(const char *p)
{
	return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

static void dns_put_u16(struct buf *b, uint16_t v)
{
	buf_addc(b, (char)(v >> 8));
	buf_addc(b, (char)(v & 0xff));
}

/* Labels at *pos of a question (which has no compression); false when they run out of bounds. */
static bool dns_name_parse(struct str msg, size_t *pos, char *ret)
{
	size_t n = 0, at = *pos;

	for (;;) {
		size_t len;

		if (at >= msg.n)
			return false;
		len = (uint8_t)msg.p[at++];
		if (!len)
			break;
		if (len > 63 || at + len > msg.n || n + len + 1 > DNS_NAME_MAX)
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
	*pos = at;
	return true;
}

bool dns_query_parse(struct str msg, struct dns_query *ret)
{
	size_t pos = HEADER;

	if (msg.n < HEADER || (uint8_t)msg.p[2] & 0xf8 || dns_u16(msg.p + 4) != 1)
		return false;
	ret->id = dns_u16(msg.p);
	ret->recursion = msg.p[2] & 1;
	if (!dns_name_parse(msg, &pos, ret->name) || pos + 4 > msg.n)
		return false;
	ret->type = dns_u16(msg.p + pos);
	ret->class = dns_u16(msg.p + pos + 2);
	ret->question_end = pos + 4;
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

static void dns_put_record(struct buf *b, const struct dns_record *r)
{
	struct buf data = { 0 };

	if (r->name.n)
		dns_put_name(b, r->name);
	else
		dns_put_u16(b, 0xc000 | HEADER); /* the question's name */
	dns_put_u16(b, (uint16_t)r->type);
	dns_put_u16(b, 1);
	dns_put_u16(b, 0);
	dns_put_u16(b, TTL_S);
	if (r->type == DNS_A) {
		buf_add(&data, str_make((const char *)r->ip, 4));
	} else {
		if (r->type == DNS_SRV) {
			dns_put_u16(&data, 0);
			dns_put_u16(&data, 100);
			dns_put_u16(&data, r->port);
		}
		dns_put_name(&data, r->target);
	}
	dns_put_u16(b, (uint16_t)data.n);
	buf_add(b, buf_str(&data));
	buf_fini(&data);
}

void dns_answer(struct buf *b, struct str query, const struct dns_query *q, enum dns_rcode rcode,
		const struct dns_record *records, size_t n)
{
	size_t done = 0;

	buf_clear(b);
	dns_put_u16(b, q->id);
	buf_addc(b, (char)(0x84 | q->recursion)); /* response, authoritative */
	buf_addc(b, (char)(0x80 | rcode));        /* recursion available */
	dns_put_u16(b, 1);
	dns_put_u16(b, 0);
	dns_put_u16(b, 0);
	dns_put_u16(b, 0);
	buf_add(b, str_sub(query, HEADER, q->question_end));
	for (; done < n; done++) {
		size_t before = b->n;

		dns_put_record(b, &records[done]);
		if (b->n > DNS_MESSAGE_MAX) {
			b->n = before;
			b->p[2] |= 0x02;
			break;
		}
	}
	b->p[6] = (char)(done >> 8);
	b->p[7] = (char)(done & 0xff);
}
