/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "io/fuzz-serve.h"
#include "testkit/fuzz.h"

/*
 * Whatever a client sends, the server neither crashes nor hangs. The first byte says in pieces
 * of which size the rest is sent. HTTP/2 is reached by its preface.
 */

const char *const fuzz_seeds[] = {
	"\x7fGET /api/v1/pods?watch=1&q=%41 HTTP/1.1\r\nHost: x\r\nAccept: a, b\r\n\r\n",
	"\x07POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
	"\x20POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
	"5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
	"\x7fGET /up HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nraw",
	"\x7fHEAD http://a/b HTTP/1.1\r\nConnection: close\r\n\r\n",
	"\x7fPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	NULL,
};

static struct err *handle(struct http_exchange *x, void *ctx UNUSED)
{
	const struct http_request *r = http_request(x);
	struct str body;
	struct stream *s;

	if (str_eqz(r->path, "/up")) {
		TRY(http_respond_upgrade(x, &s));
		stream_free(s);
		return NULL;
	}
	TRY(http_read_body(x, 0, &body));
	http_set_header(x, "X-Echo", http_query_find(&r->query, "q"));
	http_respond(x, 200, "text/plain", body);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz_serve in = { .handler = handle };

	if (!n)
		return 0;
	in.piece = (size_t)data[0] + 1;
	in.data = str_make((const char *)data + 1, n - 1);
	fuzz_serve(&in);
	return 0;
}
