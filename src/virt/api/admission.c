/* SPDX-License-Identifier: Apache-2.0 */
#include "api/meta.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/rand.h"
#include "io/http-server.h"
#include "virt/api/causes.h"
#include "virt/api/schemas.h"
#include "virt/api/validate.h"
#include "virt/api/virt-api.h"
#include "virt/api/vmi-defaults.h"
#include "virt/names.h"
#include "json/json.h"

/* One review: what is asked, and what the handler found. */
struct review {
	struct virt_api *api;
	struct arena *a;
	struct virt_config cfg;
	const struct json *request, *object, *old_object;
	bool create, by_component;
	struct json *patch;    /* JSON patch, or NULL */
	struct json *warnings; /* array */
	struct causes causes;
};

static bool is_component(const struct virt_api *api, struct arena *a, struct str user)
{
	static const char *const accounts[] = { SA_API, SA_CONTROLLER, SA_HANDLER, SA_OPERATOR };

	for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
		if (str_eq(user, arena_fmt(a, "system:serviceaccount:" STR_FMT ":%s",
					   STR_ARG(api->ns), accounts[i])))
			return true;
	}
	return false;
}

static void add_patch(struct review *r, const char *path, struct json *value)
{
	struct json *op = json_object(r->a);

	if (!r->patch)
		r->patch = json_array(r->a);
	json_set_str(r->a, op, "op", STR("add"));
	json_set_str(r->a, op, "path", str_from(path));
	json_set(r->a, op, "value", value);
	json_push(r->patch, op);
}

static void warn(struct review *r, const char *text)
{
	json_push(r->warnings, json_strz(r->a, text));
}

/* mutation */

static void mutate_vmi(struct review *r)
{
	struct json *vmi = json_copy(r->a, r->object);

	if (!r->create) {
		/* VMIs have no status subresource: what others write there is put back */
		if (!r->by_component &&
		    !json_equal(json_get(r->object, "status"), json_get(r->old_object, "status")))
			add_patch(r, "/status",
				  json_get(r->old_object, "status")
					  ? json_copy(r->a, json_get(r->old_object, "status"))
					  : json_object(r->a));
		return;
	}
	vmi_default_object(r->a, &r->cfg, vmi, r->by_component);
	add_patch(r, "/spec", json_copy(r->a, json_get(vmi, "spec")));
	add_patch(r, "/metadata", json_copy(r->a, json_get(vmi, "metadata")));
	add_patch(r, "/status", json_copy(r->a, json_get(vmi, "status")));
}

static void mutate_vm(struct review *r)
{
	struct json *vm = json_copy(r->a, r->object), *template, *spec, *firmware;

	template = json_at(vm, "spec.template");
	if (meta_deleting(vm) || !template)
		return;
	spec = json_sub(r->a, template, "spec");
	vmi_default_machine(r->a, &r->cfg, spec);
	if (r->create) {
		firmware = json_sub(r->a, json_sub(r->a, spec, "domain"), "firmware");
		if (str_empty(json_str_at(firmware, "uuid")))
			json_set_str(r->a, firmware, "uuid", rand_uuid(r->a));
		if (str_empty(json_str_at(firmware, "serial")))
			json_set_str(r->a, firmware, "serial", rand_uuid(r->a));
		vmi_default_pci_topology(r->a, spec, json_sub(r->a, template, "metadata"));
	}
	if (json_equal(vm, r->object))
		return;
	add_patch(r, "/spec", json_copy(r->a, json_get(vm, "spec")));
	add_patch(r, "/metadata", json_copy(r->a, json_get(vm, "metadata")));
}

/* validation */

static void validate_vmi_create(struct review *r)
{
	const struct json *spec = json_get(r->object, "spec");

	validate_vmi_spec(&r->causes, &r->cfg, spec, STR("spec"));
	validate_vmi_itself(&r->causes, &r->cfg, spec, STR("spec"));
	if (!r->by_component)
		validate_vmi_labels(&r->causes, json_get(r->object, "metadata"), STR("metadata"));
}

static void validate_vmi_change(struct review *r)
{
	validate_vmi_update(&r->causes, r->old_object, r->object, r->by_component);
}

/* Templates are judged as the VMI they will become. */
static struct json *with_defaults(struct review *r)
{
	struct json *obj = json_copy(r->a, r->object);
	struct json *spec = json_at(obj, "spec.template.spec");

	if (spec)
		vmi_default_spec(r->a, &r->cfg, spec);
	return obj;
}

static void validate_vm_request(struct review *r)
{
	if (meta_deleting(r->object))
		return;
	validate_vm(&r->causes, &r->cfg, with_defaults(r));
	if (!json_is_null(json_at(r->object, "spec.running")))
		warn(r, "spec.running is deprecated, please use spec.runStrategy instead.");
}

static void validate_vmirs_request(struct review *r)
{
	if (!meta_deleting(r->object))
		validate_vmirs(&r->causes, &r->cfg, with_defaults(r));
}

static const struct {
	const char *path;
	void (*fn)(struct review *r);
	const char *resource;
} handlers[] = {
	{ "/virtualmachines-mutate", mutate_vm, "virtualmachines" },
	{ "/virtualmachineinstances-mutate", mutate_vmi, "virtualmachineinstances" },
	{ "/virtualmachineinstances-validate-create", validate_vmi_create,
	  "virtualmachineinstances" },
	{ "/virtualmachineinstances-validate-update", validate_vmi_change,
	  "virtualmachineinstances" },
	{ "/virtualmachines-validate", validate_vm_request, "virtualmachines" },
	{ "/virtualmachinereplicaset-validate", validate_vmirs_request,
	  "virtualmachineinstancereplicasets" },
};

/* answers */

static struct json *refusal(struct review *r)
{
	struct json *status = json_object(r->a), *details = json_object(r->a);

	json_set_str(r->a, status, "status", STR("Failure"));
	json_set_str(r->a, status, "message", causes_message(&r->causes));
	json_set_str(r->a, status, "reason", STR("Invalid"));
	json_set_int(r->a, status, "code", 422);
	json_set(r->a, details, "causes", r->causes.list);
	json_set(r->a, status, "details", details);
	return status;
}

static struct json *bad_review(struct arena *a, struct str message)
{
	struct json *status = json_object(a);

	json_set_str(a, status, "status", STR("Failure"));
	json_set_str(a, status, "message", message);
	json_set_str(a, status, "reason", STR("BadRequest"));
	json_set_int(a, status, "code", 400);
	return status;
}

static void answer(struct review *r, struct http_exchange *x, struct json *status)
{
	struct json *out = json_object(r->a), *resp = json_object(r->a);

	json_set_str(r->a, out, "apiVersion", STR("admission.k8s.io/v1"));
	json_set_str(r->a, out, "kind", STR("AdmissionReview"));
	json_set_str(r->a, resp, "uid", json_str_at(r->request, "uid"));
	json_set_bool(r->a, resp, "allowed", !status);
	if (status)
		json_set(r->a, resp, "status", status);
	else if (r->patch) {
		json_set_str(r->a, resp, "patchType", STR("JSONPatch"));
		json_set_str(r->a, resp, "patch", base64_encode(r->a, json_text(r->a, r->patch)));
	}
	if (json_len(r->warnings))
		json_set(r->a, resp, "warnings", r->warnings);
	json_set(r->a, out, "response", resp);
	http_respond(x, 200, "application/json", json_text(r->a, out));
}

static void judge(struct review *r, struct http_exchange *x, size_t handler)
{
	struct str resource = json_str_at(r->request, "resource.resource");
	const char *want = handlers[handler].resource;

	if (!r->object || !str_eqz(resource, want)) {
		answer(r, x, bad_review(r->a, arena_fmt(r->a, "expect resource to be '%s'", want)));
		return;
	}
	if (!meta_deleting(r->object))
		schemas_check(r->api->schemas, resource, r->object, &r->causes);
	if (!json_len(r->causes.list))
		handlers[handler].fn(r);
	answer(r, x, json_len(r->causes.list) ? refusal(r) : NULL);
}

struct err *admission_serve(struct virt_api *api, struct http_exchange *x)
{
	const struct http_request *req = http_request(x);
	struct review r = { .api = api, .a = req->arena };
	struct json *review = NULL;
	struct str body;

	TRY(http_read_body(x, 0, &body));
	TRY(json_parse(r.a, body, &review));
	r.request = json_get(review, "request");
	r.object = json_get(r.request, "object");
	if (json_is_null(r.object))
		r.object = NULL;
	r.old_object = json_get(r.request, "oldObject");
	r.create = str_eqz(json_str_at(r.request, "operation"), "CREATE");
	r.by_component = is_component(api, r.a, json_str_at(r.request, "userInfo.username"));
	r.warnings = json_array(r.a);
	causes_init(&r.causes, r.a);
	virt_api_config(api, r.a, &r.cfg);
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		if (str_eqz(req->path, handlers[i].path)) {
			judge(&r, x, i);
			return NULL;
		}
	}
	return err_new(ERR_NOT_FOUND, "no webhook at '" STR_FMT "'", STR_ARG(req->path));
}
