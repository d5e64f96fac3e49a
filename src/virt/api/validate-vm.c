/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "api/selector.h"
#include "base/err.h"
#include "virt/api/validate.h"
#include "virt/mapping/virt-config.h"
#include "json/json.h"

static const char *const run_strategies[] = { "Halted", "Manual", "Always", "RerunOnFailure",
					      "Once" };

static void check_run_strategy(struct causes *c, const struct json *spec)
{
	const struct json *running = json_get(spec, "running");
	struct str strategy = json_str_at(spec, "runStrategy");

	if (!json_is_null(running) && !str_empty(strategy))
		cause_add(c, CAUSE_INVALID, STR("spec.running"),
			  "Running and RunStrategy are mutually exclusive. Note that Running is "
			  "deprecated, please use RunStrategy instead");
	if (json_is_null(running) && str_empty(strategy))
		cause_add(c, CAUSE_INVALID, STR("spec.running"), "RunStrategy must be specified");
	if (str_empty(strategy))
		return;
	for (size_t i = 0; i < ARRAY_LEN(run_strategies); i++) {
		if (str_eqz(strategy, run_strategies[i]))
			return;
	}
	if (str_eqz(strategy, "WaitAsReceiver"))
		cause_add(
			c, CAUSE_INVALID, STR("spec.runStrategy"),
			"Invalid RunStrategy (WaitAsReceiver), DecentralizedLiveMigration feature "
			"gate is not enabled in kubevirt resource");
	else
		cause_add(c, CAUSE_INVALID, STR("spec.runStrategy"),
			  "Invalid RunStrategy (" STR_FMT ")", STR_ARG(strategy));
}

static void check_dv_source(struct causes *c, const struct json *spec, struct str path)
{
	const struct json *source = json_get(spec, "source");
	bool external = json_at(spec, "pvc.dataSource") || json_at(spec, "pvc.dataSourceRef") ||
			json_at(spec, "storage.dataSource") ||
			json_at(spec, "storage.dataSourceRef");
	struct str at = field(c, STR_FMT ".source", STR_ARG(path));
	size_t n = 0;

	if (external && (source || json_get(spec, "sourceRef"))) {
		cause_add(c, CAUSE_INVALID, at,
			  "External population is incompatible with Source and SourceRef");
		return;
	}
	if (!external && !!source == !!json_get(spec, "sourceRef")) {
		cause_add(c, CAUSE_INVALID, field(c, STR_FMT ".sourceRef", STR_ARG(at)),
			  "Data volume should have either Source, SourceRef, or be externally "
			  "populated");
		return;
	}
	json_for_each(it, source) n += !json_is_null(it.val);
	if (source && n == 0)
		cause_add(c, CAUSE_INVALID, at, "Missing dataVolume valid source");
	else if (n > 1)
		cause_add(c, CAUSE_INVALID, at, "Multiple dataVolume sources");
}

static bool dv_is_used(const struct json *template, struct str name)
{
	json_for_each(it, json_at(template, "spec.volumes"))
	{
		if (str_eq(name, json_str_at(it.val, "dataVolume.name")) ||
		    str_eq(name, json_str_at(it.val, "persistentVolumeClaim.claimName")))
			return true;
	}
	return false;
}

static void check_dv_template(struct causes *c, const struct json *vm, const struct json *dv,
			      size_t i)
{
	struct str path = field(c, "spec.dataVolumeTemplates[%zu]", i);
	struct str entry = field(c, "spec.dataVolumeTemplate[%zu]", i);
	struct str name = json_str_at(dv, "metadata.name");
	struct str ns = json_str_at(dv, "metadata.namespace");
	const struct json *spec = json_get(dv, "spec");
	struct str storage = field(c, STR_FMT ".PVC.Storage", STR_ARG(entry));

	if (str_empty(name))
		cause_add(c, CAUSE_REQUIRED, field(c, STR_FMT ".name", STR_ARG(entry)),
			  "'name' field must not be empty for DataVolumeTemplate entry " STR_FMT
			  ".name.",
			  STR_ARG(entry));
	if (!str_empty(ns) && !str_eq(ns, meta_namespace(vm)))
		cause_add(c, CAUSE_INVALID, path,
			  "Embedded DataVolume namespace " STR_FMT
			  " differs from VM namespace " STR_FMT,
			  STR_ARG(ns), STR_ARG(meta_namespace(vm)));
	if (!json_get(spec, "pvc") && !json_get(spec, "storage"))
		cause_add(c, CAUSE_INVALID, storage, "Missing Data volume PVC or Storage");
	if (json_get(spec, "pvc") && json_get(spec, "storage"))
		cause_add(c, CAUSE_INVALID, storage,
			  "Duplicate storage definition, both target storage and target pvc "
			  "defined");
	check_dv_source(c, spec, entry);
	if (!dv_is_used(json_at(vm, "spec.template"), name))
		cause_add(c, CAUSE_REQUIRED, entry,
			  "DataVolumeTemplate entry " STR_FMT
			  " must be referenced in the VMI template's 'volumes' list",
			  STR_ARG(entry));
}

void validate_vm(struct causes *c, const struct virt_config *cfg, const struct json *vm)
{
	const struct json *spec = json_get(vm, "spec"), *template = json_get(spec, "template");

	if (json_is_null(template)) {
		cause_add(c, CAUSE_REQUIRED, STR("spec.template"),
			  "missing virtual machine template.");
		return;
	}
	check_run_strategy(c, spec);
	json_for_each(it, json_get(spec, "dataVolumeTemplates"))
		check_dv_template(c, vm, it.val, it.i);
	validate_vmi_labels(c, json_get(template, "metadata"), STR("spec.template.metadata"));
	validate_vmi_spec(c, cfg, json_get(template, "spec"), STR("spec.template.spec"));
}

void validate_vmirs(struct causes *c, const struct virt_config *cfg, const struct json *set)
{
	const struct json *spec = json_get(set, "spec"), *template = json_get(spec, "template");
	struct selector *sel = NULL;
	struct err *e;

	if (json_is_null(template)) {
		cause_add(c, CAUSE_REQUIRED, STR("spec.template"),
			  "missing virtual machine template.");
		return;
	}
	validate_vmi_spec(c, cfg, json_get(template, "spec"), STR("spec.template.spec"));
	e = label_selector_from_json(c->a, json_get(spec, "selector"), &sel);
	if (e) {
		cause_add(c, CAUSE_INVALID, STR("spec.selector"), STR_FMT, STR_ARG(err_msg(e)));
		err_ignore(e, "told as a cause");
		return;
	}
	if (!selector_matches(sel, json_at(template, "metadata.labels")))
		cause_add(c, CAUSE_INVALID, STR("spec.selector"),
			  "selector does not match labels.");
}

static bool is_reserved_label(struct str key)
{
	return str_has_prefix(key, STR("kubevirt.io/"));
}

/* Labels under kubevirt.io/ that one side has and the other has not, or differently. */
static bool reserved_labels_differ(const struct json *a, const struct json *b)
{
	json_for_each(it, a)
	{
		if (is_reserved_label(it.key) && !json_equal(it.val, json_get_s(b, it.key)))
			return true;
	}
	return false;
}

void validate_vmi_update(struct causes *c, const struct json *old_vmi, const struct json *vmi,
			 bool by_component)
{
	const struct json *old_labels = meta_labels(old_vmi), *labels = meta_labels(vmi);

	if (by_component)
		return;
	if (!json_equal(json_get(old_vmi, "spec"), json_get(vmi, "spec"))) {
		cause_add(c, CAUSE_NOT_SUPPORTED, STR("spec"),
			  "update of VMI object is restricted");
		return;
	}
	if (reserved_labels_differ(old_labels, labels) ||
	    reserved_labels_differ(labels, old_labels))
		cause_add(c, CAUSE_NOT_SUPPORTED, STR("metadata.labels"),
			  "modification of the following reserved kubevirt.io/ labels on a VMI "
			  "object "
			  "is prohibited");
}
