/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DNS messages (RFC 1035, 6891), as much as a resolver of cluster names needs. Pure; input is
 * hostile. */

#include "base/str.h"

struct arena;
struct buf;

#define DNS_HEADER      12
#define DNS_NAME_MAX    255
#define DNS_UDP_MIN     512  /* a client without EDNS takes this much */
#define DNS_MESSAGE_MAX 1232 /* what goes through every network unfragmented */
#define DNS_TCP_MAX     16384
#define DNS_RECORDS_MAX 512

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_OPT = 41,
	DNS_ANY = 255
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5
};

struct dns_query {
	uint16_t id, type, class;
	bool recursion, edns;
	size_t limit;                /* bytes the client takes; over TCP the caller raises it */
	char name[DNS_NAME_MAX + 1]; /* dotted, lower case, without the last dot */
	size_t question_end;         /* offset behind the first question */
};

struct dns_record {
	enum dns_type type;
	struct str name;   /* owner; empty: the query's */
	uint8_t ip[16];    /* A: 4 bytes, AAAA */
	struct str target; /* CNAME, PTR, SRV; SOA: the server's name */
	uint16_t port;     /* SRV */
};

/* queries */
/* False: not a query we can read. */
bool dns_query_parse(struct str msg, struct dns_query *ret);
/* The answer to what dns_query_parse() refused; empty when there is none to give. */
void dns_refuse(struct buf *b, struct str msg);
/*
 * The answer to query; what does not fit is left out and marked as truncated. A record of type SOA
 * goes to the authority section.
 */
void dns_answer(struct buf *b, struct str query, const struct dns_query *q, enum dns_rcode rcode,
		const struct dns_record *records, size_t n);
/* A question of our own, recursion desired. */
void dns_ask(struct buf *b, uint16_t id, struct str name, uint16_t type);

/* answers of others */
/* Whether msg is an answer to the question (query starts with its header), ids included. */
bool dns_is_answer(struct str msg, struct str query, const struct dns_query *q);
bool dns_is_truncated(struct str msg);
enum dns_rcode dns_rcode_of(struct str msg);
/* The A, AAAA and CNAME records of the answer section, in the arena; false: cannot be read. */
bool dns_answer_parse(struct arena *a, struct str msg, struct dns_record **ret, size_t *ret_n);
