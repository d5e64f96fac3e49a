/* SPDX-License-Identifier: Apache-2.0 */

#include "io/spdy.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "io/fiber.h"
#include "io/stream.h"
#include "testkit/test.h"

/* A peer that is the other end of a socket pair: what we send is looked at byte by byte. */

struct fixture {
	struct spdy *spdy;
	struct stream *peer;
};

static void fixture_init(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->spdy = spdy_new(stream_from_fd(fds[0]));
	f->peer = stream_from_fd(fds[1]);
}

static struct err *fixture_fini(struct fixture *f)
{
	spdy_free(f->spdy);
	stream_free(f->peer);
	return NULL;
}

static void peer_expects(struct fixture *f, const char *bytes, size_t n)
{
	char got[256];

	assert_true(n <= sizeof(got));
	assert_no_err(stream_read_full(f->peer, got, n));
	assert_memory_equal(got, bytes, n);
}

static void peer_sends(struct fixture *f, const char *bytes, size_t n)
{
	assert_no_err(stream_write(f->peer, str_make(bytes, n)));
}

#define EXPECT(f, literal) peer_expects(f, literal, sizeof(literal) - 1)
#define SEND(f, literal)   peer_sends(f, literal, sizeof(literal) - 1)

/* Two streams: the zlib header comes once. */
FIBER_TEST(open)
{
	const struct spdy_header h = { STR("streamtype"), STR("error") };
	struct fixture f;
	uint32_t id;

	fixture_init(&f);
	assert_no_err(spdy_open(f.spdy, &h, 1, &id));
	assert_int_equal(id, 1);
	EXPECT(&f, "\x80\x03\x00\x01\x00\x00\x00\x31"
		   "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
		   "\x78\x01\x00\x1b\x00\xe4\xff"
		   "\x00\x00\x00\x01\x00\x00\x00\x0astreamtype\x00\x00\x00\x05"
		   "error\x00\x00\x00\xff\xff");
	assert_no_err(spdy_open(f.spdy, &h, 1, &id));
	assert_int_equal(id, 3);
	EXPECT(&f, "\x80\x03\x00\x01\x00\x00\x00\x2f"
		   "\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00"
		   "\x00\x1b\x00\xe4\xff");
	return fixture_fini(&f);
}

FIBER_TEST(open_refuses_large_headers)
{
	char *big = mem_alloc(64 * 1024);
	struct spdy_header h = { STR("x"), str_make(big, 64 * 1024) };
	struct fixture f;
	uint32_t id;

	fixture_init(&f);
	assert_err(spdy_open(f.spdy, &h, 1, &id), ERR_TOO_LARGE);
	free(big);
	return fixture_fini(&f);
}

FIBER_TEST(write)
{
	struct fixture f;

	fixture_init(&f);
	assert_no_err(spdy_write(f.spdy, 5, STR("hi"), false));
	EXPECT(&f, "\x00\x00\x00\x05\x00\x00\x00\x02hi");
	assert_no_err(spdy_write(f.spdy, 5, STR_EMPTY, true));
	EXPECT(&f, "\x00\x00\x00\x05\x01\x00\x00\x00");
	return fixture_fini(&f);
}

/* Answers and settings are passed over, pings answered, a last frame without bytes is an end. */
FIBER_TEST(read)
{
	struct spdy_event ev;
	struct fixture f;

	fixture_init(&f);
	SEND(&f, "\x80\x03\x00\x02\x00\x00\x00\x05\x00\x00\x00\x01\xff"
		 "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02"
		 "\x00\x00\x00\x01\x00\x00\x00\x03"
		 "abc"
		 "\x00\x00\x00\x01\x01\x00\x00\x00"
		 "\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x03\x00\x00\x00\x05");
	assert_no_err(spdy_read(f.spdy, &ev));
	EXPECT(&f, "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02");
	assert_int_equal(ev.kind, SPDY_DATA);
	assert_int_equal(ev.id, 1);
	assert_true(str_eqz(ev.data, "abc"));
	assert_false(ev.fin);
	assert_no_err(spdy_read(f.spdy, &ev));
	assert_int_equal(ev.data.n, 0);
	assert_true(ev.fin);
	assert_no_err(spdy_read(f.spdy, &ev));
	assert_int_equal(ev.kind, SPDY_RESET);
	assert_int_equal(ev.id, 3);
	stream_free(f.peer);
	f.peer = NULL;
	assert_no_err(spdy_read(f.spdy, &ev));
	assert_int_equal(ev.kind, SPDY_END);
	return fixture_fini(&f);
}

FIBER_TEST(read_refuses)
{
	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		/* a control frame of 16 MB */
		{ "\x80\x03\x00\x02\x00\xff\xff\xff", 8 },
		/* ends in a head, in a control frame, in data */
		{ "\x80\x03\x00", 3 },
		{ "\x80\x03\x00\x02\x00\x00\x00\x05\x00", 9 },
		{ "\x00\x00\x00\x01\x00\x00\x00\x03", 8 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spdy_event ev;
		struct fixture f;

		fixture_init(&f);
		peer_sends(&f, rows[i].bytes, rows[i].n);
		assert_no_err(stream_shutdown(f.peer));
		assert_err(spdy_read(f.spdy, &ev), ERR_PROTOCOL);
		TRY(fixture_fini(&f));
	}
	return NULL;
}

TEST_MAIN(T(open), T(open_refuses_large_headers), T(write), T(read), T(read_refuses))
