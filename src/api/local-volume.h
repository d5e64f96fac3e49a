/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the provisioner of the StorageClass `local` and the node agent agree on. A PersistentVolume
 * of ours is of type `local`, bound by node affinity to one node; its path is DIR/NAME with the
 * volume's own name (a directory; with volumeMode Block a sparse file of that name and ".img").
 * The node agent makes it before the first mount; when the PersistentVolume is deleted it removes
 * it and says so as status.reason, upon which the controller takes the finalizer away: a node may
 * write the status of volumes, but not what they are.
 */

#define LOCAL_VOLUME_CLASS       "local"
#define LOCAL_VOLUME_PROVISIONER "isoplane.dev/local"
#define LOCAL_VOLUME_FINALIZER   "isoplane.dev/local-volume"
/* On the PersistentVolume: who made it. */
#define LOCAL_VOLUME_ANNOTATION "pv.kubernetes.io/provisioned-by"
/* As status.reason: nothing is left of it on the node. */
#define LOCAL_VOLUME_REMOVED "LocalVolumeRemoved"
