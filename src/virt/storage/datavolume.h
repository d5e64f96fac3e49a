/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* DataVolume -> PersistentVolumeClaim and importer Pod: a controller of virt-controller's process.
 */

struct datavolumes;
struct virt_controller;

/* Opens informers of its own for importer Pods and StorageClasses; starts when they are synced. */
struct datavolumes *datavolumes_new(struct virt_controller *vc);
/* SUSPENDS until running syncs ended. */
struct datavolumes *datavolumes_free(struct datavolumes *d);
