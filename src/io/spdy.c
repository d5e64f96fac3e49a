/* SPDX-License-Identifier: Apache-2.0 */
#include "io/spdy.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/stream.h"

/*
 * Frames (SPDY Protocol, draft 3.1, section 2):
 *
 *	control: 1|version 15|type 16, flags 8|length 24, payload
 *	data:    0|stream 31,          flags 8|length 24, bytes
 *
 * Header blocks are one zlib stream over the life of the connection. Ours is made of stored
 * blocks (RFC 1951, 3.2.4): a dictionary is only used when the stream asks for one.
 */

#define SPDY_VERSION  3
#define FRAME_HEAD    8
#define FLAG_FIN      0x01
#define MAX_CONTROL   (64 * 1024)
#define MAX_HEADERS   (60 * 1024)
#define READ_SIZE     (32 * 1024)
#define MAX_DATA      (64 * 1024) /* of one frame we send */
#define CONTROL_BIT   0x80000000u
#define STREAM_ID_MAX 0x7fffffffu

enum spdy_type {
	SPDY_SYN_STREAM = 1,
	SPDY_RST_STREAM = 3,
	SPDY_PING = 6,
	SPDY_GOAWAY = 7,
};

struct spdy {
	struct stream *st;
	uint32_t last_id;
	bool zlib_started;
	bool writing;
	struct waitq written;
	/* the data frame being read */
	uint32_t data_id;
	size_t data_left;
	bool data_fin, in_data;
	char *chunk;
};

struct spdy *spdy_new(struct stream *st)
{
	struct spdy *s = mem_new(struct spdy);

	s->st = st;
	s->chunk = mem_alloc(READ_SIZE);
	waitq_init(&s->written);
	return s;
}

struct spdy *spdy_free(struct spdy *s)
{
	if (!s)
		return NULL;
	stream_free(s->st);
	free(s->chunk);
	free(s);
	return NULL;
}

/* ---- writing */

static void spdy_put32(struct buf *b, uint32_t v)
{
	const char bytes[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };

	buf_add(b, str_make(bytes, sizeof(bytes)));
}

/* Frames of several writers must not mix. */
static struct err *spdy_send(struct spdy *s, struct str frame)
{
	struct err *e;

	while (s->writing)
		TRY(waitq_wait(&s->written));
	s->writing = true;
	e = stream_write(s->st, frame);
	s->writing = false;
	waitq_wake_one(&s->written);
	return e;
}

static void spdy_control(struct buf *b, enum spdy_type type, uint8_t flags, struct str payload)
{
	spdy_put32(b, CONTROL_BIT | SPDY_VERSION << 16 | (uint32_t)type);
	spdy_put32(b, (uint32_t)flags << 24 | (uint32_t)payload.n);
	buf_add(b, payload);
}

/* Appends text as one stored block of the connection's zlib stream. */
static void spdy_deflate(struct spdy *s, struct buf *b, struct str text)
{
	uint16_t n = (uint16_t)text.n;

	if (!s->zlib_started)
		buf_add(b, str_make("\x78\x01", 2));
	s->zlib_started = true;
	buf_addc(b, 0);
	buf_addc(b, (char)(n & 0xff));
	buf_addc(b, (char)(n >> 8));
	buf_addc(b, (char)(~n & 0xff));
	buf_addc(b, (char)((uint16_t)~n >> 8));
	buf_add(b, text);
	/* an empty block, zlib's sync flush: decoders give out what they have at it */
	buf_add(b, str_make("\0\0\0\xff\xff", 5));
}

struct err *spdy_open(struct spdy *s, const struct spdy_header *headers, size_t n, uint32_t *ret_id)
{
	_cleanup_buf_ struct buf block = { 0 };
	_cleanup_buf_ struct buf payload = { 0 };
	_cleanup_buf_ struct buf frame = { 0 };
	uint32_t id = s->last_id ? s->last_id + 2 : 1;

	spdy_put32(&block, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		spdy_put32(&block, (uint32_t)headers[i].name.n);
		buf_add(&block, headers[i].name);
		spdy_put32(&block, (uint32_t)headers[i].value.n);
		buf_add(&block, headers[i].value);
		if (block.n > MAX_HEADERS)
			return err_new(ERR_TOO_LARGE, "a stream's headers are over 60 KB");
	}
	if (id > STREAM_ID_MAX)
		return err_new(ERR_PROTOCOL, "no stream ids are left on this connection");
	s->last_id = id;
	spdy_put32(&payload, id);
	spdy_put32(&payload, 0);
	buf_add(&payload, str_make("\0\0", 2));
	spdy_deflate(s, &payload, buf_str(&block));
	spdy_control(&frame, SPDY_SYN_STREAM, 0, buf_str(&payload));
	*ret_id = id;
	return spdy_send(s, buf_str(&frame));
}

struct err *spdy_write(struct spdy *s, uint32_t id, struct str data, bool fin)
{
	do {
		_cleanup_buf_ struct buf frame = { 0 };
		struct str piece = str_sub(data, 0, MIN(data.n, (size_t)MAX_DATA));
		bool last = piece.n == data.n;

		spdy_put32(&frame, id);
		spdy_put32(&frame,
			   (uint32_t)(fin && last ? FLAG_FIN : 0) << 24 | (uint32_t)piece.n);
		buf_add(&frame, piece);
		TRY(spdy_send(s, buf_str(&frame)));
		data = str_skip(data, piece.n);
	} while (data.n);
	return NULL;
}

/* ---- reading */

static uint32_t spdy_get32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static struct err *spdy_read_data(struct spdy *s, struct spdy_event *ret)
{
	size_t n = 0;

	if (s->data_left) {
		TRY(stream_read(s->st, s->chunk, MIN(s->data_left, (size_t)READ_SIZE), &n));
		if (!n)
			return err_new(ERR_PROTOCOL, "the connection ended inside a frame");
		s->data_left -= n;
	}
	s->in_data = s->data_left > 0;
	*ret = (struct spdy_event){
		.kind = SPDY_DATA,
		.id = s->data_id,
		.data = str_make(s->chunk, n),
		.fin = s->data_fin && !s->data_left,
	};
	return NULL;
}

/* Whether it is something to tell. */
static struct err *spdy_read_control(struct spdy *s, uint32_t type, size_t n,
				     struct spdy_event *ret, bool *ret_told)
{
	_cleanup_free_ char *payload = NULL;

	if (n > MAX_CONTROL)
		return err_new(ERR_PROTOCOL, "a control frame of %zu bytes", n);
	payload = mem_alloc(n + 1);
	TRY(stream_read_full(s->st, payload, n));
	if (type == SPDY_RST_STREAM && n >= 4) {
		*ret = (struct spdy_event){
			.kind = SPDY_RESET,
			.id = spdy_get32(payload) & STREAM_ID_MAX,
			.fin = true,
		};
		*ret_told = true;
	} else if (type == SPDY_GOAWAY) {
		*ret = (struct spdy_event){ .kind = SPDY_END };
		*ret_told = true;
	} else if (type == SPDY_PING && n == 4 && spdy_get32(payload) % 2 == 0) {
		_cleanup_buf_ struct buf frame = { 0 };

		spdy_control(&frame, SPDY_PING, 0, str_make(payload, n));
		return spdy_send(s, buf_str(&frame));
	}
	return NULL;
}

struct err *spdy_read(struct spdy *s, struct spdy_event *ret)
{
	bool told = false;

	while (!s->in_data && !told) {
		char head[FRAME_HEAD];
		uint32_t first, second;
		size_t n;

		TRY(stream_read(s->st, head, sizeof(head), &n));
		if (!n) {
			*ret = (struct spdy_event){ .kind = SPDY_END };
			return NULL;
		}
		if (n < sizeof(head))
			TRY(stream_read_full(s->st, head + n, sizeof(head) - n));
		first = spdy_get32(head);
		second = spdy_get32(head + 4);
		if (first & CONTROL_BIT) {
			TRY(spdy_read_control(s, first & 0xffff, second & 0xffffff, ret, &told));
			continue;
		}
		s->data_id = first;
		s->data_left = second & 0xffffff;
		s->data_fin = second >> 24 & FLAG_FIN;
		s->in_data = true;
	}
	return told ? NULL : spdy_read_data(s, ret);
}
