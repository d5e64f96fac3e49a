/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pod-security.h"

#include <limits.h>

#include "base/arena.h"
#include "base/buf.h"
#include "server/errors.h"
#include "server/pod-security-internal.h"
#include "json/json.h"

/* ---- levels */

static const char *const level_names[] = { "privileged", "baseline", "restricted" };

bool pod_security_same(struct pod_security x, struct pod_security y)
{
	return x.level == y.level && x.minor == y.minor;
}

struct str pod_security_text(struct arena *a, struct pod_security p)
{
	if (p.minor == INT_MAX)
		return arena_fmt(a, "%s:latest", level_names[p.level]);
	return arena_fmt(a, "%s:v1.%d", level_names[p.level], p.minor);
}

static bool level_parse(struct str s, enum pod_security_level *ret)
{
	for (int i = POD_PRIVILEGED; i <= POD_RESTRICTED; i++) {
		if (!str_eqz(s, level_names[i]))
			continue;
		*ret = (enum pod_security_level)i;
		return true;
	}
	*ret = POD_RESTRICTED;
	return false;
}

static bool version_parse(struct str s, int *ret)
{
	int64_t n;

	*ret = INT_MAX;
	if (str_eqz(s, "latest"))
		return true;
	if (!str_strip_prefix(&s, STR("v1.")) || !s.n || (s.n > 1 && s.p[0] == '0') ||
	    s.p[0] == '-' || s.p[0] == '+' || !str_to_i64(s, &n) || n > 1000000)
		return false;
	*ret = (int)n;
	return true;
}

static void label_bad(struct arena *a, struct err **e, const char *name, struct str val,
		      const char *text)
{
	if (e)
		cause_invalid_str(e,
				  arena_fmt(a, "metadata.labels[" POD_SECURITY_PREFIX "%s]", name),
				  val, "%s", text);
}

/* One of the three; *ret_level: a level was named, well. False: not at all. */
static bool mode_read(struct arena *a, const struct json *labels, const char *mode,
		      struct pod_security *p, struct err **e, bool *ret_valid, bool *ret_version)
{
	struct str key = arena_fmt(a, POD_SECURITY_PREFIX "%s", mode);
	const struct json *level = json_get_s(labels, key);
	const struct json *version = json_get_s(labels, arena_cat(a, key, STR("-version")));

	*ret_valid = false;
	if (level) {
		*ret_valid = level_parse(json_as_str(level), &p->level);
		if (!*ret_valid)
			label_bad(a, e, mode, json_as_str(level),
				  "must be one of privileged, baseline, restricted");
	}
	if (version && !version_parse(json_as_str(version), &p->minor))
		label_bad(a, e, arena_fmt(a, "%s-version", mode).p, json_as_str(version),
			  "must be \"latest\" or \"v1.x\"");
	*ret_version = version != NULL;
	return level != NULL;
}

struct pod_security_policy pod_security_policy(struct arena *a, const struct json *labels,
					       struct err **e)
{
	const struct pod_security dflt = { POD_PRIVILEGED, INT_MAX };
	struct pod_security_policy p = { dflt, dflt, dflt };
	bool enforced, valid, version, warned;

	mode_read(a, labels, "enforce", &p.enforce, e, &enforced, &version);
	/* what cannot be read does not get in the way */
	if (mode_read(a, labels, "audit", &p.audit, e, &valid, &version) && !valid)
		p.audit.level = POD_PRIVILEGED;
	warned = mode_read(a, labels, "warn", &p.warn, e, &valid, &version);
	if (warned && !valid)
		p.warn.level = POD_PRIVILEGED;
	if (!warned && enforced && p.enforce.level > p.warn.level) {
		p.warn.level = p.enforce.level;
		if (!version)
			p.warn.minor = p.enforce.minor;
	}
	return p;
}

/* ---- checks, in the order they are reported: baseline by name, then restricted by name */

static const struct {
	enum pod_security_level level;
	int since, until; /* minor versions */
	int over;         /* from here on the restricted level has a stricter one instead */
	bool (*check)(struct pod_check *c);
} checks[] = {
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_apparmor },
	{ POD_BASELINE, 0, INT_MAX, 22, pod_check_capabilities },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_host_namespaces },
	{ POD_BASELINE, 0, INT_MAX, 0, pod_check_host_path },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_host_ports },
	{ POD_BASELINE, 34, INT_MAX, INT_MAX, pod_check_probe_hosts },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_privileged },
	{ POD_BASELINE, 0, INT_MAX, 35, pod_check_proc_mount },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_selinux },
	{ POD_BASELINE, 0, 19, INT_MAX, pod_check_seccomp_annotations },
	{ POD_BASELINE, 19, INT_MAX, 19, pod_check_seccomp },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_sysctls },
	{ POD_BASELINE, 0, INT_MAX, INT_MAX, pod_check_windows },
	{ POD_RESTRICTED, 8, INT_MAX, INT_MAX, pod_check_escalation },
	{ POD_RESTRICTED, 22, INT_MAX, INT_MAX, pod_check_drop_all },
	{ POD_RESTRICTED, 35, INT_MAX, INT_MAX, pod_check_proc_mount_always },
	{ POD_RESTRICTED, 0, INT_MAX, INT_MAX, pod_check_volumes },
	{ POD_RESTRICTED, 0, INT_MAX, INT_MAX, pod_check_non_root },
	{ POD_RESTRICTED, 23, INT_MAX, INT_MAX, pod_check_user },
	{ POD_RESTRICTED, 19, INT_MAX, INT_MAX, pod_check_seccomp_set },
};

static bool check_applies(size_t i, struct pod_security p)
{
	if (checks[i].level > p.level || p.minor < checks[i].since)
		return false;
	if (checks[i].until != INT_MAX && p.minor >= checks[i].until)
		return false;
	return p.level != POD_RESTRICTED || checks[i].over == INT_MAX || p.minor < checks[i].over;
}

struct str pod_security_check(struct arena *a, struct pod_security p, const struct json *meta,
			      const struct json *spec, bool details)
{
	struct pod_check c = { .a = a, .meta = meta, .spec = spec, .minor = p.minor };
	_cleanup_buf_ struct buf b = { 0 };

	if (p.level == POD_PRIVILEGED)
		return STR_EMPTY;
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (!check_applies(i, p) || checks[i].check(&c))
			continue;
		buf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(c.reason));
		if (details && c.detail.n)
			buf_addf(&b, " (" STR_FMT ")", STR_ARG(c.detail));
	}
	return buf_to_arena(&b, a);
}
