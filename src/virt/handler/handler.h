/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virt-handler: drives the VMIs of one node. Private to this folder; main.c puts the parts
 * together.
 */

#include "base/map.h"
#include "base/str.h"

struct arena;
struct client;
struct controller;
struct err;
struct event_recorder;
struct handler;
struct informer;
struct json;
struct launcher_conn;
struct loop;

/* A VMI we have to do with, by its key. Lives from the first contact to the VMI's end. */
struct handler_vm {
	struct handler *h;
	char *key, *uid;
	struct launcher_conn *conn; /* NULL: not connected */
	bool shutdown_told;         /* the event of it was recorded */
	char *sync_error;           /* why the last start failed, or NULL */
	struct console *console;    /* who holds the serial console (server.c) */
};

struct handler {
	struct client *client;
	struct loop *loop;
	struct str ns, node_name, node_ip, kubelet_root, address;
	struct informer *vmis;
	struct controller *controller;
	struct event_recorder *events;
	struct map vms; /* key -> struct handler_vm */
};

/* sync.c: the controller's sync */
MUST_USE struct err *handler_sync(void *ctx, struct arena *a, struct str key);
/* The VM of a key, connected; NOT_FOUND when there is none here. */
MUST_USE struct err *handler_find(struct handler *h, struct str key, struct handler_vm **ret);
struct json *handler_vmi(struct handler *h, struct arena *a, struct str key);
void handler_vm_free(struct handler_vm *vm);
/* One command to the VM's launcher, by name; then the VMI is synced. */
MUST_USE struct err *handler_command(struct handler_vm *vm, const char *command);
/* A directory of the launcher Pod of vmi: an emptyDir's name. Takes nothing; *ret_fd is the
 * caller's. */
MUST_USE struct err *handler_open_volume(struct handler *h, const struct json *vmi,
					 const char *volume, int *ret_fd);

/* claims.c: what the launcher, which is no root, must own: its devices and disk images */
MUST_USE struct err *claims_prepare(struct handler *h, struct arena *a, const struct json *vmi,
				    int root, struct json **ret_sizes);

/* node.c: labels, heartbeat */
MUST_USE struct err *node_run(void *handler);
/* Marks the node as not schedulable for VMs (clean shutdown). */
void node_leave(struct handler *h);

/* device-plugin.c: devices.kubevirt.io/{kvm,tun,vhost-net} */
MUST_USE struct err *device_plugins_run(void *handler);

/* server.c: virt-api's requests */
MUST_USE struct err *virt_handler_serve(void *handler);
