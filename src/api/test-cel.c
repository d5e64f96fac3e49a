/* SPDX-License-Identifier: Apache-2.0 */

/* The language: results, compile errors, run-time errors, costs. */

#include "api/cel.h"

#include <stdlib.h>

#include "testkit/test.h"
#include "json/json.h"

static const char object_text[] =
	"{\"a\":1,\"s\":\"str\",\"l\":[1,2,3],\"m\":{\"k\":\"v\",\"a-b\":2},\"n\":null,\"f\":1.5,"
	"\"big\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29],"
	"\"o\":[{\"x\":1},{\"x\":2,\"y\":\"z\"}]}";

/* "R: json", "! error" or "? issues". */
static struct str eval(struct arena *a, struct cel_env *e, const char *expr, uint64_t *cost)
{
	struct str issues = STR_EMPTY, why = STR_EMPTY;
	struct cel_prog *p = cel_compile(e, a, str_from(expr), &issues);
	struct cel_val vars[CEL_ADMISSION_VARS] = { 0 }, v;
	struct cel_run run = { .arena = a, .vars = vars };
	struct json *o = NULL, *j;
	struct str out;

	if (!p)
		return arena_fmt(a, "? " STR_FMT, STR_ARG(issues));
	assert_no_err(json_parse(a, str_from(object_text), &o));
	vars[CEL_VAR_OBJECT] = cel_val_json(o);
	if (!cel_eval(p, &run, &v)) {
		out = arena_fmt(a, "! " STR_FMT, STR_ARG(v.s));
	} else {
		j = cel_val_to_json(a, v, &why);
		out = j ? json_text(a, j) : arena_fmt(a, "! " STR_FMT, STR_ARG(why));
	}
	if (cost)
		*cost = run.cost;
	cel_prog_unref(p);
	return arena_str(a, out);
}

struct row {
	const char *expr, *want;
};

static void check_rows(const struct row *rows, size_t n)
{
	struct cel_env *e = cel_env_admission(0);
	int bad = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct str got = eval(a, e, rows[i].expr, NULL);

		if (str_eqz(got, rows[i].want))
			continue;
		print_error("%s\n  is   " STR_FMT "\n  want %s\n", rows[i].expr, STR_ARG(got),
			    rows[i].want);
		bad++;
	}
	cel_env_unref(e);
	assert_int_equal(bad, 0);
}

#define CHECK(rows) check_rows(rows, ARRAY_LEN(rows))

TEST(literals)
{
	static const struct row rows[] = {
		{ "1", "1" },
		{ "-1", "-1" },
		{ "0x1F", "31" },
		{ "-0xA", "-10" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "7u", "7" },
		{ "1.5", "1.5" },
		{ ".5", "0.5" },
		{ "1e3", "1000.0" },
		{ "true", "true" },
		{ "null", "null" },
		{ "'a\"b'", "\"a\\\"b\"" },
		{ "\"a'b\"", "\"a'b\"" },
		{ "'\\n\\t\\\\'", "\"\\n\\t\\\\\"" },
		{ "'\\x41\\u0042\\U00000043\\104'", "\"ABCD\"" },
		{ "r'\\d'", "\"\\\\d\"" },
		{ "'''a\n'b'''", "\"a\\n'b\"" },
		{ "\"\"\"x\"\"\"", "\"x\"" },
		{ "b'abc'", "\"YWJj\"" },
		{ "b'\\xff'", "\"/w==\"" },
		{ "br'\\x'", "\"XHg=\"" },
		{ "[1, 2,]", "[1,2]" },
		{ "[]", "[]" },
		{ "{'a': [1], 'b': [2]}", "{\"a\":[1],\"b\":[2]}" },
		{ "{}", "{}" },
		{ "// all\n 1 // of it", "1" },
		{ "[?optional.of(1), ?optional.none(), 3]", "[1,3]" },
		{ "{?'a': optional.none(), 'b': 2}", "{\"b\":2}" },
		{ "{'a': 1, 'a': 2}", "! Failed with repeated key: a" },
	};

	CHECK(rows);
}

TEST(operators)
{
	static const struct row rows[] = {
		{ "1 + 2 * 3", "7" },
		{ "(1 + 2) * 3", "9" },
		{ "7 / 2", "3" },
		{ "-7 / 2", "-3" },
		{ "-7 % 3", "-1" },
		{ "1 - 2 - 3", "-4" },
		{ "1.0 / 4.0", "0.25" },
		{ "3u - 1u", "2" },
		{ "1u - 2u", "! unsigned integer overflow" },
		{ "9223372036854775807 + 1", "! integer overflow" },
		{ "-9223372036854775808 / -1", "! integer overflow" },
		{ "1 / 0", "! division by zero" },
		{ "1 % 0", "! modulus by zero" },
		{ "-(1)", "-1" },
		{ "!!true", "true" },
		{ "!!!true", "false" },
		{ "--1", "1" },
		{ "'a' + 'b'", "\"ab\"" },
		{ "b'a' + b'b'", "\"YWI=\"" },
		{ "[1] + [2]", "[1,2]" },
		{ "1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", "true" },
		{ "1 < 2u && 1u < 1.5 && 1.5 > 1", "true" },
		{ "dyn(1) == 1.0 && dyn(1u) == 1", "true" },
		{ "'a' < 'b'", "true" },
		{ "true > false", "true" },
		{ "[1, 2] == [1, 2]", "true" },
		{ "[1, 2] == [2, 1]", "false" },
		{ "{'a': 1} == {'a': 1}", "true" },
		{ "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true" },
		{ "{'a': 1} != {'a': 2}", "true" },
		{ "dyn('a') == 1", "false" },
		{ "null == object.n", "true" },
		{ "1 in [1, 2]", "true" },
		{ "'a' in {'a': 1}", "true" },
		{ "'zz' in object", "false" },
		{ "true ? 1 : 2", "1" },
		{ "false ? 1 : true ? 2 : 3", "2" },
		{ "true || 1 / 0 > 0", "true" },
		{ "1 / 0 > 0 || true", "true" },
		{ "1 / 0 > 0 && false", "false" },
		{ "1 / 0 > 0 && true", "! division by zero" },
		{ "false || 1 / 0 > 0", "! division by zero" },
		{ "[1, 2, 3][1]", "2" },
		{ "[1][5]", "! index out of bounds: 5" },
		{ "{'a': 1}['b']", "! no such key: b" },
		{ "{1: 'x'}[1]", "\"x\"" },
		{ "{'a': {'b': 2}}.a.b", "2" },
		{ "object.l[dyn(1.0)]", "2" },
		{ "object.big[29] + object.big[28]", "57" },
		{ "object.s + 1", "! no such overload" },
		{ "object.a + 'x'", "! no such overload" },
		{ "object.zz", "! no such key: zz" },
		{ "object.m['a-b']", "2" },
		{ "object.f + 1.0", "2.5" },
		{ "a && b", "? ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n"
			    " | a && b\n | ^\n"
			    "ERROR: <input>:1:6: undeclared reference to 'b' (in container '')\n"
			    " | a && b\n | .....^" },
	};

	CHECK(rows);
}

TEST(macros)
{
	static const struct row rows[] = {
		{ "has(object.a)", "true" },
		{ "has(object.zz)", "false" },
		{ "has(object.n)", "true" },
		{ "has(object.m.k) && !has(object.m.q)", "true" },
		{ "[1, 2].all(x, x > 0)", "true" },
		{ "[1, 2].all(x, x > 1)", "false" },
		{ "[].all(x, false)", "true" },
		{ "[0, 2].all(x, 1 / x > 5)", "false" },
		{ "[0, 1].all(x, 1 / x > 0)", "! division by zero" },
		{ "[1, 2].exists(x, x > 1)", "true" },
		{ "[0, 1].exists(x, 1 / x > 0)", "true" },
		{ "[1, 2, 2].exists_one(x, x == 1)", "true" },
		{ "[1, 2, 2].exists_one(x, x == 2)", "false" },
		{ "[1, 2].map(x, x * 2)", "[2,4]" },
		{ "[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]" },
		{ "[1, 2, 3].filter(x, x % 2 == 1)", "[1,3]" },
		{ "{'a': 1, 'b': 2}.map(k, k)", "[\"a\",\"b\"]" },
		{ "object.m.all(k, k.size() > 0)", "true" },
		{ "object.o.exists(i, has(i.y) && i.y == 'z')", "true" },
		{ "object.o.map(i, i.x)", "[1,2]" },
		{ "object.big.filter(x, x > 27)", "[28,29]" },
		{ "[[1, 2], [3]].map(l, l.map(x, x + 1))", "[[2,3],[4]]" },
		{ "[1, 2].all(i, v, i < v)", "true" },
		{ "[5, 6].exists(i, v, i == 1 && v == 6)", "true" },
		{ "{'a': 1}.existsOne(k, v, k == 'a' && v == 1)", "true" },
		{ "[5, 6].transformList(i, v, i + v)", "[5,7]" },
		{ "[5, 6].transformList(i, v, v > 5, v)", "[6]" },
		{ "{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", "{\"a\":2,\"b\":3}" },
		{ "{'a': 1, 'b': 2}.transformMap(k, v, k == 'a', v)", "{\"a\":1}" },
		{ "['x', 'y'].transformMapEntry(i, v, {v: i})", "{\"x\":0,\"y\":1}" },
		{ "['x', 'x'].transformMapEntry(i, v, {v: i})",
		  "! insert failed: key x already exists" },
		{ "has(a)", "? ERROR: <input>:1:5: invalid argument to has() macro\n | has(a)\n | "
			    "....^" },
		{ "[1].all(x.y, true)", "? ERROR: <input>:1:10: argument must be a simple name\n"
					" | [1].all(x.y, true)\n | .........^" },
	};

	CHECK(rows);
}

TEST(optionals)
{
	static const struct row rows[] = {
		{ "object.?a.orValue(5)", "1" },
		{ "object.?zz.orValue(5)", "5" },
		{ "object.?m.?k.value()", "\"v\"" },
		{ "object.?zz.?k.hasValue()", "false" },
		{ "object.?m.k.value()", "\"v\"" },
		{ "object.m[?'k'].hasValue()", "true" },
		{ "object.l[?7].hasValue()", "false" },
		{ "optional.none().value()", "! optional.none() dereference" },
		{ "optional.of(1).value()", "1" },
		{ "optional.ofNonZeroValue('').hasValue()", "false" },
		{ "optional.none().or(optional.of(2)).value()", "2" },
		{ "optional.of(1).orValue(1 / 0)", "1" },
		{ "optional.of(2).optMap(x, x + 1).value()", "3" },
		{ "optional.none().optMap(x, x).hasValue()", "false" },
		{ "optional.of(2).optFlatMap(x, optional.of(x * 2)).value()", "4" },
		{ "[1, 2].first().value() + [1, 2].last().value()", "3" },
		{ "optional.of(1) == optional.of(1)", "true" },
		{ "has(object.?m.k)", "true" },
	};

	CHECK(rows);
}

TEST(functions)
{
	static const struct row rows[] = {
		{ "size('h\\u00e9llo') + 'abc'.size() + [1].size() + size({'a': 1})", "10" },
		{ "type(1) == int && type('a') == string && type([]) == list", "true" },
		{ "type(object.a) == int && type(null) == null_type && type(int) == type", "true" },
		{ "int('42') + int(1.9) + int(3u)", "46" },
		{ "int(object.s)", "! type conversion error from 'string' to 'int'" },
		{ "uint(-1)", "! unsigned integer overflow" },
		{ "double('1.5') + double(1)", "2.5" },
		{ "string(1) + string(1.5) + string(true) + string(2u)", "\"11.5true2\"" },
		{ "string(1e6)", "\"1e+06\"" },
		{ "string(b'abc')", "\"abc\"" },
		{ "bool('true')", "true" },
		{ "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
		  "true" },
		{ "'abc123'.matches('^[a-z]+[0-9]+$')", "true" },
		{ "matches('abc', 'b')", "true" },
		{ "duration('1h30m').getMinutes()", "90" },
		{ "duration('90s') == duration('1m30s')", "true" },
		{ "string(duration('90.5s'))", "\"90.5s\"" },
		{ "timestamp('2023-01-02T03:04:05Z').getFullYear()", "2023" },
		{ "timestamp('2023-01-02T03:04:05Z').getHours('+02:00')", "5" },
		{ "timestamp('2023-01-02T03:04:05Z').getDayOfWeek()", "1" },
		{ "timestamp('2023-01-02T03:04:05.5Z') - timestamp('2023-01-02T03:04:05Z') == "
		  "duration('500ms')",
		  "true" },
		{ "string(timestamp('2023-01-02T03:04:05Z') + duration('1h'))",
		  "\"2023-01-02T04:04:05Z\"" },
		{ "timestamp('2023-01-02T03:04:05Z') < timestamp('2023-01-03T03:04:05Z')", "true" },
		{ "duration('x')", "? ERROR: <input>:1:10: invalid duration argument\n | "
				   "duration('x')\n | .........^" },
		{ "'a'.matches('(')", "? ERROR: <input>:1:13: invalid matches argument\n | "
				      "'a'.matches('(')\n | ............^" },
		{ "'hello'.charAt(1)", "\"e\"" },
		{ "'hello hello'.indexOf('llo') + 'hello hello'.lastIndexOf('llo')", "10" },
		{ "'hello'.indexOf('l', 3)", "3" },
		{ "'a,b,c'.split(',')", "[\"a\",\"b\",\"c\"]" },
		{ "'a,b,c'.split(',', 2)", "[\"a\",\"b,c\"]" },
		{ "'abc'.split('')", "[\"a\",\"b\",\"c\"]" },
		{ "['a', 'b'].join('-')", "\"a-b\"" },
		{ "'hello'.replace('l', 'L')", "\"heLLo\"" },
		{ "'hello'.replace('l', 'L', 1)", "\"heLlo\"" },
		{ "'ab'.replace('', '_')", "\"_a_b_\"" },
		{ "'hello'.substring(1, 3)", "\"el\"" },
		{ "'hello'.substring(9)", "! index out of range: 9" },
		{ "'  a '.trim() + 'Ab'.lowerAscii() + 'Ab'.upperAscii()", "\"aabAB\"" },
		{ "'%s %d %.2f %x'.format([dyn('a'), 1, 1.5, 255])", "\"a 1 1.50 ff\"" },
		{ "'%s'.format([[dyn(1), 'a', {'k': true}]])",
		  "\"[1, \\\"a\\\", {\\\"k\\\":true}]\"" },
		{ "'100%%'.format([])", "\"100%\"" },
		{ "strings.quote('a\"b')", "\"\\\"a\\\\\\\"b\\\"\"" },
		{ "[3, 1, 2].sort()", "[1,2,3]" },
		{ "['b', 'a'].sortBy(x, x)", "[\"a\",\"b\"]" },
		{ "[1, 2, 3].sortBy(x, -x)", "[3,2,1]" },
		{ "[1, 2, 3, 4].slice(1, 3)", "[2,3]" },
		{ "[[1], [2, 3]].flatten()", "[1,2,3]" },
		{ "[1, 2].reverse()", "[2,1]" },
		{ "[1, 2, 1].distinct()", "[1,2]" },
		{ "lists.range(3)", "[0,1,2]" },
		{ "[1, 2, 3].sum() + [1, 5].max() + [4, 2].min()", "13" },
		{ "[].sum() == 0", "true" },
		{ "[1, 2].isSorted() && !['b', 'a'].isSorted()", "true" },
		{ "[5, 6, 5].indexOf(5) + [5, 6, 5].lastIndexOf(5)", "2" },
	};

	CHECK(rows);
}

TEST(libraries)
{
	static const struct row rows[] = {
		{ "sets.contains([1, 2, 3], [1, 3]) && sets.intersects([1], [1, 2]) && "
		  "sets.equivalent([1, 2], [2, 1, 1])",
		  "true" },
		{ "'abc 123'.find('[0-9]+')", "\"123\"" },
		{ "'1 22 333'.findAll('[0-9]+')", "[\"1\",\"22\",\"333\"]" },
		{ "'1 22 333'.findAll('[0-9]+', 2)", "[\"1\",\"22\"]" },
		{ "url('https://user@ex.com:80/a b?x=1&x=2').getHost()", "\"ex.com:80\"" },
		{ "url('https://ex.com:80/p').getPort() + url('https://[::1]:80/p').getHostname()",
		  "\"80::1\"" },
		{ "url('https://e.com/p?x=1&x=2').getQuery()", "{\"x\":[\"1\",\"2\"]}" },
		{ "isURL('https://a.b/') && !isURL('nope') && isURL('/abs')", "true" },
		{ "quantity('1Gi').isGreaterThan(quantity('1M'))", "true" },
		{ "quantity('1500m').add(quantity('500m')).asInteger()", "2" },
		{ "quantity('2').sub(1).compareTo(quantity('1'))", "0" },
		{ "isQuantity('1.2.3') || !isQuantity('50k') || quantity('50k').isInteger() == "
		  "false",
		  "false" },
		{ "ip('192.168.0.1').family() + ip('::1').family()", "10" },
		{ "isIP('1.2.3') || ip('127.0.0.1').isLoopback() == false", "false" },
		{ "cidr('192.168.0.0/16').containsIP('192.168.3.4')", "true" },
		{ "cidr('192.168.0.0/16').containsCIDR('192.168.1.0/24')", "true" },
		{ "string(cidr('192.168.1.5/24').masked()) + string(ip('::1'))",
		  "\"192.168.1.0/24::1\"" },
		{ "cidr('10.0.0.0/8').prefixLength()", "8" },
		{ "ip('10.0.0.1') == ip('10.0.0.1')", "true" },
		{ "semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch()",
		  "6" },
		{ "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('1.0.0-rc.1+b') && "
		  "!isSemver('1.0')",
		  "true" },
		{ "semver('v1.2', true) == semver('1.2.0')", "true" },
		{ "format.dns1123Label().validate('ok').hasValue()", "false" },
		{ "format.dns1123Label().validate('Not Ok').hasValue()", "true" },
		{ "format.named('uuid').value().validate('x').value()",
		  "[\"does not match the UUID format\"]" },
	};

	CHECK(rows);
}

TEST(compile_errors)
{
	static const struct row rows[] = {
		{ "1 + 'a'",
		  "? ERROR: <input>:1:3: found no matching overload for '_+_' applied to "
		  "'(int, string)'\n | 1 + 'a'\n | ..^" },
		{ "'a'.foo()", "? ERROR: <input>:1:8: undeclared reference to 'foo' (in container "
			       "'')\n | 'a'.foo()\n | .......^" },
		{ "'a'.b", "? ERROR: <input>:1:4: type 'string' does not support field selection\n"
			   " | 'a'.b\n | ...^" },
		{ "request.nope", "? ERROR: <input>:1:8: undefined field 'nope'\n | request.nope\n"
				  " | .......^" },
		{ "[1, 'a']", "? ERROR: <input>:1:5: expected type 'int' but found 'string'\n"
			      " | [1, 'a']\n | ....^" },
		{ "1 && true", "? ERROR: <input>:1:1: expected type 'bool' but found 'int'\n"
			       " | 1 && true\n | ^" },
		{ "'a'.size(1)",
		  "? ERROR: <input>:1:9: found no matching overload for 'size' applied "
		  "to 'string.(int)'\n | 'a'.size(1)\n | ........^" },
		{ "(1).map(x, x)",
		  "? ERROR: <input>:1:2: expression of type 'int' cannot be range of "
		  "a comprehension (must be list, map, or dynamic)\n"
		  " | (1).map(x, x)\n | .^" },
		{ "",
		  "? ERROR: <input>:1:0: Syntax error: mismatched input '<EOF>' expecting {'[', "
		  "'{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, "
		  "NUM_UINT, STRING, BYTES, IDENTIFIER}" },
		{ "1 +",
		  "? ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', "
		  "'{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, "
		  "NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^" },
		{ "while", "? ERROR: <input>:1:1: reserved identifier: while\n | while\n | ^" },
		{ "Object{}",
		  "? ERROR: <input>:1:7: undeclared reference to 'Object' (in container "
		  "'')\n | Object{}\n | ......^" },
		{ "jsonpatch.escapeKey('a')",
		  "? ERROR: <input>:1:1: undeclared reference to 'jsonpatch' (in container '')\n"
		  " | jsonpatch.escapeKey('a')\n | ^\n"
		  "ERROR: <input>:1:20: undeclared reference to 'escapeKey' (in container '')\n"
		  " | jsonpatch.escapeKey('a')\n | ...................^" },
		{ "9223372036854775808", "? ERROR: <input>:1:1: invalid int literal\n"
					 " | 9223372036854775808\n | ^" },
	};

	CHECK(rows);
}

TEST_MAIN(T(literals), T(operators), T(macros), T(optionals), T(functions), T(libraries),
	  T(compile_errors))
