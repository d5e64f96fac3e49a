/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Name rules (RFC 1123 and friends). Each returns NULL when s is fine, else upstream's message for
 * the cause, in the arena or static.
 */

#include "base/str.h"

struct arena;

const char *name_check_dns_label(struct str s);      /* namespaces */
const char *name_check_dns_subdomain(struct str s);  /* most objects */
const char *name_check_dns1035_label(struct str s);  /* services */
const char *name_check_path_segment(struct str s);   /* RBAC kinds, ... */
const char *name_check_any(struct str s);            /* kinds that let any name pass */
const char *name_check_qualified(struct str s);      /* label and annotation keys */
const char *name_check_qualified_part(struct str s); /* the part behind a prefix */
const char *name_check_config_key(struct str s);     /* keys of ConfigMaps and Secrets */
const char *name_check_dns_search(struct str s);     /* a subdomain, underscores too */
const char *name_check_label_value(struct str s);
const char *name_check_env_var(struct str s);
const char *name_check_port_name(struct str s);
bool ip_is_valid(struct str s); /* IPv4 or IPv6 */
