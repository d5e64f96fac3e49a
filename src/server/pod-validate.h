/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The parts of a Pod's validation, one file per noun: pod-validate.c, pod-container-validate.c,
 * pod-volume-validate.c, pod-affinity-validate.c. spec is the whole PodSpec, p its place. */

#include "base/str.h"

struct json;
struct place;
struct valid;

/* pod: of a Pod, not of a template. */
void pod_containers_validate(const struct valid *v, const struct json *spec, const struct place *p,
			     bool pod);
void pod_init_containers_validate(const struct valid *v, const struct json *spec,
				  const struct place *p, bool pod);
void pod_ephemeral_containers_validate(const struct valid *v, const struct json *spec,
				       const struct place *p);
void pod_volumes_validate(const struct valid *v, const struct json *spec, const struct place *p);
void pod_affinity_validate(const struct valid *v, const struct json *spec, const struct place *p);
void tolerations_validate(const struct valid *v, const struct json *list, const struct place *p);
/* A NodeSelector. */
void node_selector_validate(const struct valid *v, const struct json *sel, const struct place *p);

/* parts that others have too */
void field_ref_validate(const struct valid *v, const struct json *ref, const struct place *p,
			bool volume);
void resource_ref_validate(const struct valid *v, const struct json *ref, const struct place *p,
			   bool volume);
/* volume sources that PersistentVolumes have too */
void host_path_validate(const struct valid *v, const struct json *src, const struct place *p);
void nfs_validate(const struct valid *v, const struct json *src, const struct place *p);
void iscsi_validate(const struct valid *v, const struct json *src, const struct place *p);
void local_path_validate(const struct valid *v, const struct place *p, struct str path);
void user_id_validate(const struct valid *v, const struct json *sc, const char *member,
		      const struct place *p);
void security_profiles_validate(const struct valid *v, const struct json *sc,
				const struct place *p);
