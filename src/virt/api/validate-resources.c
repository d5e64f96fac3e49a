/* SPDX-License-Identifier: Apache-2.0 */
#include "api/quantity.h"
#include "virt/api/validate.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"

#define MIN_MEMORY INT64_C(1000000)

/* One quantity of the spec: where it is, what it says, and whether it is there. */
struct amount {
	struct str path, text;
	struct quantity q;
	bool set;
};

struct amounts {
	struct amount cpu_request, cpu_limit, memory_request, memory_limit, guest, page;
};

static struct amount read_amount(struct causes *c, const struct json *spec, struct str path,
				 const char *at)
{
	const struct json *v = json_at(spec, at);
	struct amount a = { .path = field(c, STR_FMT ".%s", STR_ARG(path), at) };

	if (json_is(v, JSON_INT)) {
		a.q = quantity_from_value(json_as_int(v, 0), QUANTITY_DECIMAL_SI);
		a.text = quantity_text(c->a, a.q);
		a.set = true;
	} else if (v && quantity_parse(json_as_str(v), &a.q)) {
		a.text = json_as_str(v);
		a.set = true;
	} else {
		a.text = STR("0");
	}
	return a;
}

static bool is_negative(const struct amount *a)
{
	return a->set && a->q.nano < 0;
}

static void check_positive(struct causes *c, const struct amount *a)
{
	if (is_negative(a))
		cause_add(c, CAUSE_INVALID, a->path,
			  STR_FMT " '" STR_FMT "': must be greater than or equal to 0.",
			  STR_ARG(a->path), STR_ARG(a->text));
}

static void check_not_greater(struct causes *c, const struct amount *a, const struct amount *limit)
{
	if (a->set && limit->set && limit->q.nano > 0 && quantity_cmp(a->q, limit->q) > 0)
		cause_add(c, CAUSE_INVALID, a->path,
			  STR_FMT " '" STR_FMT "' is greater than " STR_FMT " '" STR_FMT "'",
			  STR_ARG(a->path), STR_ARG(a->text), STR_ARG(limit->path),
			  STR_ARG(limit->text));
}

static void check_page(struct causes *c, const struct json *spec, const struct amounts *v)
{
	struct str text = json_str_at(spec, "domain.memory.hugepages.pageSize");
	const struct amount *m = v->memory_request.set ? &v->memory_request
				 : v->guest.set        ? &v->guest
						       : &v->memory_limit;

	if (str_empty(text))
		return;
	if (!v->page.set) {
		cause_add(c, CAUSE_INVALID, v->page.path,
			  STR_FMT " '" STR_FMT "': quantities must match the regular expression "
				  "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
			  STR_ARG(v->page.path), STR_ARG(text));
		return;
	}
	if (quantity_cmp(m->q, v->page.q) < 0)
		cause_add(c, CAUSE_INVALID, v->memory_request.path,
			  STR_FMT " '" STR_FMT
				  "' must be equal to or larger than page size " STR_FMT
				  " '" STR_FMT "'",
			  STR_ARG(v->memory_request.path), STR_ARG(v->memory_request.text),
			  STR_ARG(v->page.path), STR_ARG(text));
	else if (v->page.q.nano > 0 && m->q.nano % v->page.q.nano)
		cause_add(c, CAUSE_INVALID, v->memory_request.path,
			  STR_FMT " '" STR_FMT "' is not a multiple of the page size " STR_FMT
				  " '" STR_FMT "'",
			  STR_ARG(v->memory_request.path), STR_ARG(v->memory_request.text),
			  STR_ARG(v->page.path), STR_ARG(text));
}

static void check_memory(struct causes *c, const struct virt_config *cfg, const struct amounts *v)
{
	const struct amount *r = &v->memory_request;

	check_positive(c, &v->memory_limit);
	check_positive(c, r);
	if (r->set && r->q.nano > 0 && quantity_value(r->q) < MIN_MEMORY)
		cause_add(c, CAUSE_INVALID, r->path,
			  STR_FMT " '" STR_FMT "': must be greater than or equal to 1M.",
			  STR_ARG(r->path), STR_ARG(r->text));
	check_not_greater(c, r, &v->memory_limit);
	if (!cfg->live_update && v->guest.set && v->memory_limit.set &&
	    quantity_cmp(v->guest.q, v->memory_limit.q) > 0)
		cause_add(c, CAUSE_INVALID, v->guest.path,
			  STR_FMT " '" STR_FMT
				  "' must be equal to or less than the memory limit " STR_FMT
				  " '" STR_FMT "'",
			  STR_ARG(v->guest.path), STR_ARG(v->guest.text),
			  STR_ARG(v->memory_limit.path), STR_ARG(v->memory_limit.text));
}

static bool is_whole(const struct amount *a)
{
	return quantity_milli(a->q) % 1000 == 0;
}

static void check_dedicated(struct causes *c, const struct json *spec, const struct amounts *v,
			    struct str path)
{
	const struct json *cpu = json_at(spec, "domain.cpu");
	struct str at = field(c, STR_FMT ".domain.cpu.dedicatedCpuPlacement", STR_ARG(path));
	struct str cores = field(c, STR_FMT ".domain.cpu.cores", STR_ARG(path));
	bool any = v->cpu_request.set || v->cpu_limit.set;

	if (v->cpu_limit.set && !is_whole(&v->cpu_limit))
		cause_add(c, CAUSE_INVALID, v->cpu_limit.path,
			  "provided resources CPU limits must be an interger");
	if (v->cpu_request.set && !is_whole(&v->cpu_request))
		cause_add(c, CAUSE_INVALID, v->cpu_request.path,
			  "provided resources CPU requests must be an interger");
	if (v->memory_request.set && v->memory_limit.set &&
	    quantity_cmp(v->memory_request.q, v->memory_limit.q) != 0)
		cause_add(c, CAUSE_INVALID, v->memory_request.path,
			  STR_FMT " must be equal to " STR_FMT, STR_ARG(v->memory_request.path),
			  STR_ARG(v->memory_limit.path));
	if (!any && !json_int_at(cpu, "cores", 0))
		cause_add(c, CAUSE_INVALID, at,
			  "either " STR_FMT " or " STR_FMT " or " STR_FMT
			  " must be provided when DedicatedCPUPlacement is true ",
			  STR_ARG(v->cpu_request.path), STR_ARG(v->cpu_limit.path), STR_ARG(cores));
	if (v->cpu_request.set && v->cpu_limit.set &&
	    quantity_cmp(v->cpu_request.q, v->cpu_limit.q) != 0)
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " or " STR_FMT
				  " must be equal when DedicatedCPUPlacement is true ",
			  STR_ARG(v->cpu_request.path), STR_ARG(v->cpu_limit.path));
	if (any && json_int_at(cpu, "cores", 0))
		cause_add(c, CAUSE_INVALID, at,
			  STR_FMT " or " STR_FMT
				  " must not be provided at the same time with " STR_FMT
				  " when DedicatedCPUPlacement is true ",
			  STR_ARG(v->cpu_request.path), STR_ARG(v->cpu_limit.path), STR_ARG(cores));
	if (json_int_at(cpu, "threads", 0) > 2)
		cause_add(c, CAUSE_INVALID, at,
			  "Not more than two threads must be provided at " STR_FMT
			  ".domain.cpu.threads (got %lld) when DedicatedCPUPlacement is true",
			  STR_ARG(path), (long long)json_int_at(cpu, "threads", 0));
}

static void check_cpu(struct causes *c, const struct json *spec, const struct amounts *v,
		      struct str path)
{
	static const char *const policies[] = { "",         "force",   "require",
						"optional", "disable", "forbid" };
	const struct json *cpu = json_at(spec, "domain.cpu");
	int64_t max = json_int_at(cpu, "maxSockets", 0);
	bool dedicated = json_bool_at(cpu, "dedicatedCpuPlacement", false);

	check_positive(c, &v->cpu_limit);
	check_positive(c, &v->cpu_request);
	check_not_greater(c, &v->cpu_request, &v->cpu_limit);
	if (dedicated)
		check_dedicated(c, spec, v, path);
	else if (json_bool_at(cpu, "isolateEmulatorThread", false))
		cause_add(c, CAUSE_INVALID,
			  field(c, STR_FMT ".domain.cpu.isolateEmulatorThread", STR_ARG(path)),
			  "IsolateEmulatorThread should be only set in combination with "
			  "DedicatedCPUPlacement");
	if (max && json_int_at(cpu, "sockets", 0) > max)
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".domain.cpu.sockets", STR_ARG(path)),
			  "Number of sockets in CPU topology is greater than the maximum sockets "
			  "allowed");
	json_for_each(it, json_get(cpu, "features"))
	{
		struct str policy = json_str_at(it.val, "policy");
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(policies); i++)
			known |= str_eqz(policy, policies[i]);
		if (!known)
			cause_add(c, CAUSE_INVALID,
				  field(c, STR_FMT ".domain.cpu.features[%zu].policy",
					STR_ARG(path), it.i),
				  "CPU feature " STR_FMT " uses policy " STR_FMT
				  " that is not supported.",
				  STR_ARG(json_str_at(it.val, "name")), STR_ARG(policy));
	}
	if (str_eqz(json_str_at(spec, "architecture"), "arm64") &&
	    json_int_at(cpu, "threads", 0) > 1)
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".architecture", STR_ARG(path)),
			  "threads must not be greater than 1 at " STR_FMT
			  ".domain.cpu.threads (got %lld) when " STR_FMT ".architecture is arm64",
			  STR_ARG(path), (long long)json_int_at(cpu, "threads", 0), STR_ARG(path));
}

void validate_resources(struct causes *c, const struct virt_config *cfg, const struct json *spec,
			struct str path)
{
	struct amounts v = {
		.cpu_request = read_amount(c, spec, path, "domain.resources.requests.cpu"),
		.cpu_limit = read_amount(c, spec, path, "domain.resources.limits.cpu"),
		.memory_request = read_amount(c, spec, path, "domain.resources.requests.memory"),
		.memory_limit = read_amount(c, spec, path, "domain.resources.limits.memory"),
		.guest = read_amount(c, spec, path, "domain.memory.guest"),
		.page = read_amount(c, spec, path, "domain.memory.hugepages.pageSize"),
	};

	check_memory(c, cfg, &v);
	check_page(c, spec, &v);
	check_cpu(c, spec, &v, path);
}
