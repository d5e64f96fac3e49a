/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/err.h"
#include "io/fuzz-serve.h"
#include "testkit/fuzz.h"

/*
 * Whatever frames a client sends after the preface, the server neither crashes nor hangs. A frame
 * is written as type, flags, stream and length, a byte each, and its payload; a payload of length
 * 255 is a whole request of the kind that the first byte behind it names. Type 0xff sends what
 * follows as it is.
 */

const char *const fuzz_seeds[] = {
	"\x04\x01\x01\xff"
	"a\x01\x05\x03\xff"
	"b\x06\x01\x01\x08"
	"12345678",
	"\x01\x04\x01\xff"
	"c\x01\x01\x01\x05hello\x08\x01\x01\x04"
	"abcd\x03\x01\x01\x04"
	"abcd",
	"\x01\x01\x01\xff"
	"d\x09\x01\x01\x03xyz\x09\x04\x01\x01x",
	"\x01\x05\x01\xff"
	"e\x02\x01\x01\x05"
	"abcde\x07\x01\x01\x08"
	"abcdefgh\xff\x01\x02\x03",
	NULL,
};

static void put_field(struct buf *b, const char *name, const char *value)
{
	buf_addc(b, 0);
	buf_addc(b, (char)strlen(name));
	buf_addz(b, name);
	buf_addc(b, (char)strlen(value));
	buf_addz(b, value);
}

/* HPACK: literals without indexing. */
static void put_request(struct buf *b, uint8_t kind)
{
	static const char *const paths[] = { "/", "/echo?q=1", "/stream", "*", "" };

	put_field(b, ":method", kind & 1 ? "POST" : "GET");
	put_field(b, ":scheme", "https");
	put_field(b, ":path", paths[(kind >> 1) % ARRAY_LEN(paths)]);
	put_field(b, ":authority", "x");
	if (kind & 64)
		put_field(b, "content-length", "5");
	if (kind & 128)
		put_field(b, "connection", "close");
}

static void put_frame(struct buf *b, const uint8_t *head, struct str payload)
{
	const char bytes[] = { (char)(payload.n >> 16),
			       (char)(payload.n >> 8),
			       (char)payload.n,
			       (char)head[0],
			       (char)head[1],
			       0,
			       0,
			       0,
			       (char)head[2] };

	buf_add(b, str_make(bytes, sizeof(bytes)));
	buf_add(b, payload);
}

static void put_frames(struct buf *b, struct str in)
{
	while (in.n > 4 && (uint8_t)in.p[0] != 0xff) {
		const uint8_t *head = (const uint8_t *)in.p;
		_cleanup_buf_ struct buf request = { 0 };
		size_t n = head[3];

		in = str_skip(in, 4);
		if (n == 255) {
			put_request(&request, (uint8_t)in.p[0]);
			put_frame(b, head, buf_str(&request));
			n = 1;
		} else {
			n = MIN(n, in.n);
			put_frame(b, head, str_sub(in, 0, n));
		}
		in = str_skip(in, n);
	}
	if (in.n)
		buf_add(b, str_skip(in, 1));
}

static struct err *handle(struct http_exchange *x, void *ctx UNUSED)
{
	const struct http_request *r = http_request(x);
	struct str body;

	if (str_eqz(r->path, "/stream")) {
		http_respond_stream(x, 200, "text/plain");
		for (int i = 0; i < 4; i++)
			TRY(http_body_write(x, STR("some text that goes out in pieces\n")));
		return http_body_end(x);
	}
	TRY(http_read_body(x, 0, &body));
	http_respond(x, 200, "text/plain", body);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_buf_ struct buf frames = { 0 };
	struct fuzz_serve in = { .handler = handle,
				 .first = STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
				 .piece = 16384 };

	put_frames(&frames, str_make((const char *)data, n));
	in.data = buf_str(&frames);
	fuzz_serve(&in);
	return 0;
}
