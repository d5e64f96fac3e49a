/* SPDX-License-Identifier: Apache-2.0 */

/* Whatever a runtime's streaming server sends, reading it ends and does not crash. */

#include <sys/socket.h>

#include "base/assert.h"
#include "base/err.h"
#include "io/fiber.h"
#include "io/spdy.h"
#include "io/stream.h"
#include "testkit/fuzz.h"

const char *const fuzz_seeds[] = {
	"\x80\x03\x01\x03\x01\x01\x01\x08........",
	"\x01\x01\x01\x01\x01\x01\x01\x03"
	"abc",
	NULL,
};

/* Pings are answered: a peer that reads nothing would be waited for, which is right. */
static struct err *drain(void *arg)
{
	char buf[4096];
	size_t n = 1;

	while (n)
		TRY(stream_read(arg, buf, sizeof(buf), &n));
	return NULL;
}

static struct err *run(void *arg)
{
	const struct str *in = arg;
	struct spdy_event ev = { .kind = SPDY_DATA };
	struct stream *peer;
	struct fiber *reader;
	struct spdy *s;
	struct err *e;
	int fds[2];

	(void)fiber_limit_ms(10000);
	ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	s = spdy_new(stream_from_fd(fds[0]));
	peer = stream_from_fd(fds[1]);
	/* fits into the socket's buffer: inputs are 64 KB at most */
	e = stream_write(peer, *in);
	if (!e)
		e = stream_shutdown(peer);
	reader = fiber_spawn(fiber_loop(), "drain", drain, peer);
	while (!e && ev.kind != SPDY_END)
		e = spdy_read(s, &ev);
	ASSERT(!e || !err_is(e, ERR_TIMEOUT));
	err_free(e);
	spdy_free(s);
	err_ignore(fiber_join(reader), "the end of what it reads, however it ends");
	fiber_unref(reader);
	stream_free(peer);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str in = str_make((const char *)data, n);

	err_ignore(fiber_main(run, &in), "only crashes count");
	return 0;
}
