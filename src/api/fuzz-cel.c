/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An expression, a stranger's: it compiles or says why not; what compiles is evaluated under a
 * budget, and its result is JSON or none. Evaluated again, it yields the same.
 */

#include "api/cel.h"

#include "base/arena.h"
#include "base/assert.h"
#include "testkit/fuzz.h"
#include "json/json.h"

const char *const fuzz_seeds[] = {
	"object.a + 1 == 2 && object.s.startsWith('s') || has(object.m.k)",
	"object.l.map(x, x * 2).filter(x, x > 2).exists(x, x == 4)",
	"'%s %d %.2f'.format([object.s, object.a, 1.5]) + object.l.map(x, string(x)).join('-')",
	"[1, 2].transformMap(i, v, v + i).all(k, v, k < v) ? optional.of(1).orValue(2) : 3",
	"duration('1h') + duration('1s') > duration('2s') && timestamp(0).getHours('+01:00') == 1",
	"quantity('1Gi').add(1).isGreaterThan(quantity('1M')) && ip('::1').isLoopback()",
	"cidr('10.0.0.0/8').containsIP('10.1.1.1') && url('https://a/b?c=d').getQuery()['c'] == "
	"['d']",
	"semver('1.2.3-a.1+b').isLessThan(semver('v1.3', true)) && 'aab'.findAll('a*', 3).size() > "
	"0",
	"Object{spec: Object.spec{replicas: 1, ?x: object.?y}}",
	"[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('a/b~'), value: {'x': [1u, "
	"b'\\xff']}}]",
	"'''a\n''' + r'\\d' + \"\\u00e9\" + string(0x1F) + string(-1e10)",
	"[3, 1].sortBy(x, -x).slice(0, 1).flatten().distinct().reverse() == lists.range(3)",
	"((((((((((1))))))))))+-1-!true",
	NULL,
};

static const char object_text[] =
	"{\"a\":1,\"s\":\"str\",\"l\":[1,2,3],\"m\":{\"k\":\"v\"},\"n\":null,"
	"\"f\":1.5,\"o\":[{\"x\":1},{\"x\":2}]}";

static struct str fuzz_eval(struct arena *a, const struct cel_prog *p, const struct json *o)
{
	struct cel_val vars[CEL_ADMISSION_VARS] = { 0 }, v;
	struct cel_run run = { .arena = a, .vars = vars, .limit = 20000 };
	struct json *j;

	vars[CEL_VAR_OBJECT] = cel_val_json(o);
	if (!cel_eval(p, &run, &v))
		return v.s;
	j = cel_val_to_json(a, v, NULL);
	return j ? json_text(a, j) : STR("none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct cel_env *env;
	struct arena *a = arena_new();
	struct str issues = STR_EMPTY;
	struct cel_prog *p;
	struct json *o;
	struct err *e = json_parse(a, str_from(object_text), &o);

	ASSERT(!e);
	if (!env)
		env = cel_env_admission(CEL_WITH_PATCH | CEL_WITH_PARAMS);
	p = cel_compile(env, a, str_make((const char *)data, n), &issues);
	ASSERT(p || issues.n);
	if (p)
		ASSERT(str_eq(fuzz_eval(a, p, o), fuzz_eval(a, p, o)));
	cel_prog_unref(p);
	arena_free(a);
	return 0;
}
