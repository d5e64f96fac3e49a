/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DNS messages (RFC 1035), as much as a resolver of cluster names needs. Pure; input is hostile. */

#include "base/str.h"

struct buf;

#define DNS_NAME_MAX    255
#define DNS_MESSAGE_MAX 1232 /* what goes through every network unfragmented */

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_PTR = 12,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_ANY = 255
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4
};

struct dns_query {
	uint16_t id, type, class;
	bool recursion;
	char name[DNS_NAME_MAX + 1]; /* dotted, lower case, without the last dot */
	size_t question_end;         /* offset behind the first question */
};

struct dns_record {
	enum dns_type type;
	struct str name;   /* owner; empty: the query's */
	uint8_t ip[4];     /* A */
	struct str target; /* CNAME, PTR, SRV */
	uint16_t port;     /* SRV */
};

/* False: not a query we can read. At least 12 bytes are needed for an answer to be possible. */
bool dns_query_parse(struct str msg, struct dns_query *ret);
/* The answer to query; what does not fit is left out and marked as truncated. */
void dns_answer(struct buf *b, struct str query, const struct dns_query *q, enum dns_rcode rcode,
		const struct dns_record *records, size_t n);
