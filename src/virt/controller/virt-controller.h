/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the controllers of virtualization share: one client, one set of informers, the cluster's
 * configuration. Each controller is a sync function behind client/controller.h:
 *
 *     VirtualMachine                    vm.c     creates and deletes its VMI by run strategy
 *     VirtualMachineInstance            vmi.c    creates the launcher Pod, moves the phases up to
 *                                                Scheduled; virt-handler goes on from there
 *     VirtualMachineInstanceReplicaSet  vmirs.c
 *     Node                              node.c   virt-handler's heartbeat
 *     DataVolume                        storage/datavolume.c
 */

#include "api/gvk.h"
#include "client/expectations.h"
#include "client/informer.h"
#include "virt/mapping/virt-config.h"

struct client;
struct controller;
struct datavolumes;
struct err;
struct event_recorder;
struct loop;
struct replica_sets;

struct virt_controller {
	struct loop *loop;
	struct client *client;
	struct event_recorder *events;
	struct str ns, launcher_image;
	struct informer *kubevirts, *vms, *vmis, *vmirs, *pods, *nodes, *datavolumes, *claims;
	struct informer_index *pods_by_owner;
	struct expectations vm_expect, vmi_expect;
	struct informer_handler vm_handler, vmi_handler;
	struct controller *vm, *vmi, *node;
	struct replica_sets *sets;
	struct datavolumes *dvs;
};

/* The KubeVirt's configuration, with the launcher image of the command line on top. */
void virt_controller_config(const struct virt_controller *vc, struct arena *a,
			    struct virt_config *ret);

/* Each makes its controller and connects it; virt_controller_main starts them. */
void vm_controller_init(struct virt_controller *vc);
void vmi_controller_init(struct virt_controller *vc);
void vmirs_controller_init(struct virt_controller *vc);
void node_controller_init(struct virt_controller *vc);

/* A tree of one's own, with kind and apiVersion; NULL tree when o is NULL. */
MUST_USE struct err *virt_obj_parse(struct arena *a, const struct obj *o, const char *api_version,
				    const char *kind, struct json **ret);
/* Puts the two observed-api-version annotations; true when they were not there. */
bool virt_mark_api_version(struct arena *a, struct json *obj);
