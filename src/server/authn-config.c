/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authn-config.h"

#include "base/arena.h"
#include "base/err.h"
#include "io/file.h"
#include "server/access-opts.h"
#include "server/errors.h"
#include "server/tokens.h"
#include "json/json.h"
#include "json/yaml.h"

#define MAX_FILE ((size_t)1024 * 1024)

/* the file */
struct config_reader {
	struct arena *a;
	struct err *e;
};

static struct str field(struct config_reader *r, const char *fmt, struct str path)
{
	return arena_fmt(r->a, STR_FMT "%s", STR_ARG(path), fmt);
}

/* Expressions are refused rather than ignored: they would decide who somebody is. */
static void no_expression(struct config_reader *r, const struct json *j, struct str path)
{
	if (!str_empty(json_str_at(j, "expression")))
		cause_forbidden(&r->e, field(r, ".expression", path),
				"expressions are not supported by this server, use claim");
}

static struct claim_mapping read_mapping(struct config_reader *r, const struct json *j,
					 struct str path, bool required, bool prefixed)
{
	struct claim_mapping m = { json_str_at(j, "claim"), json_str_at(j, "prefix") };

	no_expression(r, j, path);
	if (required && str_empty(m.claim) && str_empty(json_str_at(j, "expression")))
		cause_required(&r->e, path, "claim or expression is required");
	if (prefixed && !str_empty(m.claim) && !json_get(j, "prefix"))
		cause_required(&r->e, field(r, ".prefix", path),
			       "prefix is required when claim is set. It can be set to an empty "
			       "string to disable prefixing");
	return m;
}

static void read_issuer_url(struct config_reader *r, struct str url, struct str path)
{
	if (str_empty(url))
		cause_required(&r->e, path, "URL is required");
	else if (!str_has_prefix(url, STR("https://")))
		cause_invalid_str(&r->e, path, url, "URL scheme must be https");
	else if (str_eqz(url, TOKEN_ISSUER))
		cause_invalid_str(&r->e, path, url,
				  "URL must not overlap with disallowed issuers: [" TOKEN_ISSUER
				  "]");
}

static void read_audiences(struct config_reader *r, const struct json *issuer, struct str path,
			   struct oidc_issuer *ret)
{
	const struct json *list = json_get(issuer, "audiences");
	struct str *v = arena_array(r->a, json_len(list) + 1, sizeof(*v));
	struct str policy = json_str_at(issuer, "audienceMatchPolicy");

	if (!json_len(list))
		cause_required(&r->e, field(r, ".audiences", path),
			       arena_fmt(r->a, "at least one " STR_FMT ".audiences is required",
					 STR_ARG(path))
				       .p);
	json_for_each(it, list) v[ret->n_audiences++] = json_as_str(it.val);
	ret->audiences = v;
	if (ret->n_audiences > 1 && !str_eqz(policy, "MatchAny"))
		cause_invalid_str(&r->e, field(r, ".audienceMatchPolicy", path), policy,
				  "audienceMatchPolicy must be MatchAny for multiple audiences");
}

static void read_rules(struct config_reader *r, const struct json *list, struct str path,
		       struct oidc_issuer *ret)
{
	struct claim_rule *v = arena_array(r->a, json_len(list) + 1, sizeof(*v));

	json_for_each(it, list)
	{
		struct str at = arena_fmt(r->a, STR_FMT "[%zu]", STR_ARG(path), it.i);

		no_expression(r, it.val, at);
		v[ret->n_required++] = (struct claim_rule){ json_str_at(it.val, "claim"),
							    json_str_at(it.val, "requiredValue") };
	}
	ret->required = v;
}

static void read_issuer(struct config_reader *r, const struct json *j, size_t i,
			struct oidc_issuer *ret)
{
	const struct json *issuer = json_get(j, "issuer"), *maps = json_get(j, "claimMappings");
	struct str root = arena_fmt(r->a, "jwt[%zu]", i), path = field(r, ".issuer", root);
	struct str mappings = field(r, ".claimMappings", root);

	*ret = (struct oidc_issuer){
		.url = json_str_at(issuer, "url"),
		.discovery_url = json_str_at(issuer, "discoveryURL"),
		.ca_pem = json_str_at(issuer, "certificateAuthority"),
	};
	read_issuer_url(r, ret->url, field(r, ".url", path));
	if (!str_empty(ret->discovery_url) && str_eq(ret->discovery_url, ret->url))
		cause_invalid_str(&r->e, field(r, ".discoveryURL", path), ret->discovery_url,
				  "discoveryURL must be different from URL");
	read_audiences(r, issuer, path, ret);
	read_rules(r, json_get(j, "claimValidationRules"), field(r, ".claimValidationRules", root),
		   ret);
	ret->username = read_mapping(r, json_get(maps, "username"), field(r, ".username", mappings),
				     true, true);
	ret->groups = read_mapping(r, json_get(maps, "groups"), field(r, ".groups", mappings),
				   false, true);
	ret->uid = read_mapping(r, json_get(maps, "uid"), field(r, ".uid", mappings), false, false);
	if (json_len(json_get(maps, "extra")))
		cause_forbidden(&r->e, field(r, ".extra", mappings),
				"expressions are not supported by this server");
	if (json_len(json_get(j, "userValidationRules")))
		cause_forbidden(&r->e, field(r, ".userValidationRules", root),
				"expressions are not supported by this server");
}

static void read_anonymous(struct config_reader *r, const struct json *j, struct authn_config *ret)
{
	const struct json *list = json_get(j, "conditions");
	struct str *v = arena_array(r->a, json_len(list) + 1, sizeof(*v));

	if (json_is_null(j))
		return;
	ret->no_anonymous = !json_bool_at(j, "enabled", false);
	if (ret->no_anonymous && json_len(list))
		cause_invalid(&r->e, STR("anonymous.conditions"), list,
			      "enabled should be set to true when conditions are defined");
	json_for_each(it, list) v[ret->n_anonymous_paths++] = json_str_at(it.val, "path");
	ret->anonymous_paths = v;
}

static void read_config(struct config_reader *r, const struct json *doc, struct authn_config *ret)
{
	const struct json *list = json_get(doc, "jwt");
	struct oidc_issuer *v = arena_array(r->a, json_len(list) + 1, sizeof(*v));

	if (json_len(list) > MAX_ISSUERS) {
		cause_invalid(&r->e, STR("jwt"), json_int(r->a, (int64_t)json_len(list)),
			      "must have at most %d items", MAX_ISSUERS);
		return;
	}
	json_for_each(it, list)
	{
		read_issuer(r, it.val, it.i, &v[it.i]);
		for (size_t k = 0; k < it.i; k++) {
			if (str_eq(v[k].url, v[it.i].url))
				cause_duplicate(&r->e, arena_fmt(r->a, "jwt[%zu].issuer.url", it.i),
						json_str(r->a, v[k].url));
		}
	}
	ret->issuers = v;
	ret->n_issuers = json_len(list);
	read_anonymous(r, json_get(doc, "anonymous"), ret);
}

struct err *authn_config_parse(struct arena *a, struct str text, struct authn_config *ret)
{
	struct config_reader r = { .a = a };
	struct json *doc = NULL;
	struct str version;

	*ret = (struct authn_config){ 0 };
	TRY(yaml_parse(a, text, &doc));
	version = json_str_at(doc, "apiVersion");
	if (!str_eqz(json_str_at(doc, "kind"), "AuthenticationConfiguration") ||
	    (!str_eqz(version, "apiserver.config.k8s.io/v1") &&
	     !str_eqz(version, "apiserver.config.k8s.io/v1beta1")))
		return err_new(ERR_INVALID, "it is no AuthenticationConfiguration of "
					    "apiserver.config.k8s.io/v1");
	read_config(&r, doc, ret);
	return error_invalid(r.e, STR("apiserver.config.k8s.io"),
			     STR("AuthenticationConfiguration"), STR_EMPTY);
}

/* the flags */
static struct str default_prefix(struct arena *a, const struct authn_opts *o, struct str claim)
{
	/* names of several issuers must not meet; addresses do not */
	if (o->username_prefix.p)
		return str_eqz(o->username_prefix, "-") ? STR_EMPTY : o->username_prefix;
	return str_eqz(claim, "email") ? STR_EMPTY : arena_cat(a, o->issuer_url, STR("#"));
}

static struct err *config_flags(struct arena *a, const struct authn_opts *o,
				struct authn_config *ret)
{
	struct oidc_issuer *i = arena_new_obj(a, struct oidc_issuer);
	struct claim_rule *rules = arena_array(a, MAX_OIDC_LIST, sizeof(*rules));
	struct config_reader r = { .a = a };
	struct str claim = str_empty(o->username_claim) ? STR("sub") : o->username_claim;

	i->url = o->issuer_url;
	i->audiences = &o->client_id;
	i->n_audiences = 1;
	i->username = (struct claim_mapping){ claim, default_prefix(a, o, claim) };
	i->groups = (struct claim_mapping){ o->groups_claim, o->groups_prefix };
	i->algs = str_empty(o->signing_algs) ? STR("RS256") : o->signing_algs;
	for (size_t k = 0; k < o->n_required_claims; k++) {
		rules[k].value = o->required_claims[k];
		str_cut(&rules[k].value, '=', &rules[k].claim);
	}
	i->required = rules;
	i->n_required = o->n_required_claims;
	read_issuer_url(&r, i->url, STR("oidc-issuer-url"));
	if (str_empty(o->client_id))
		cause_required(&r.e, STR("oidc-client-id"), NULL);
	if (!str_empty(o->ca_file))
		TRY(file_read(a, arena_strz(a, o->ca_file), MAX_FILE, &i->ca_pem));
	ret->issuers = i;
	ret->n_issuers = 1;
	return error_invalid(r.e, STR_EMPTY, STR("flags"), STR_EMPTY);
}

struct err *authn_config_read(struct arena *a, const struct authn_opts *o, struct authn_config *ret)
{
	struct str text = STR_EMPTY;

	*ret = (struct authn_config){ .no_anonymous = o->no_anonymous };
	if (!str_empty(o->config_file)) {
		if (!str_empty(o->issuer_url))
			return err_new(ERR_INVALID, "authentication-config file and oidc-* flags "
						    "are mutually exclusive");
		TRY(file_read(a, arena_strz(a, o->config_file), MAX_FILE, &text));
		TRY(err_wrap(authn_config_parse(a, text, ret), STR_FMT, STR_ARG(o->config_file)));
		ret->no_anonymous |= o->no_anonymous;
		return NULL;
	}
	return str_empty(o->issuer_url) && str_empty(o->client_id) ? NULL : config_flags(a, o, ret);
}
