/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names the virtualization components share: resources, labels, annotations, finalizers,
 * ServiceAccounts. All are upstream's. What the launcher Pod looks like inside is launcher-api.h's.
 */

#include "api/gvk.h"

#define VIRT_API_VERSION       "kubevirt.io/v1"
#define VIRT_NAMESPACE_DEFAULT "kubevirt"

#define GVR_VM           GVR("kubevirt.io", "v1", "virtualmachines")
#define GVR_VMI          GVR("kubevirt.io", "v1", "virtualmachineinstances")
#define GVR_VMIRS        GVR("kubevirt.io", "v1", "virtualmachineinstancereplicasets")
#define GVR_KUBEVIRT     GVR("kubevirt.io", "v1", "kubevirts")
#define GVR_DATAVOLUME   GVR("cdi.kubevirt.io", "v1beta1", "datavolumes")
#define GVR_NAD          GVR("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
#define GVR_POD          GVR("", "v1", "pods")
#define GVR_NODE         GVR("", "v1", "nodes")
#define GVR_PVC          GVR("", "v1", "persistentvolumeclaims")
#define GVR_SECRET       GVR("", "v1", "secrets")
#define GVR_CONFIGMAP    GVR("", "v1", "configmaps")
#define GVR_STORAGECLASS GVR("storage.k8s.io", "v1", "storageclasses")
#define GVR_REVISION     GVR("apps", "v1", "controllerrevisions")
#define GVR_CRD          GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")

/* labels */
#define LABEL_VIRT                "kubevirt.io" /* "virt-launcher", "virt-handler", ... */
#define LABEL_CREATED_BY          "kubevirt.io/created-by" /* VMI's uid */
#define LABEL_VM_NAME             "vm.kubevirt.io/name"
#define LABEL_VMI_ID              "vmi.kubevirt.io/id"
#define LABEL_NODE_NAME           "kubevirt.io/nodeName"
#define LABEL_SCHEDULABLE         "kubevirt.io/schedulable"
#define LABEL_MACHINE_TYPE        "machine-type.node.kubevirt.io/"
#define LABEL_CPU_MODEL           "cpu-model.node.kubevirt.io/"
#define LABEL_CPU_FEATURE         "cpu-feature.node.kubevirt.io/"
#define LABEL_OBSOLETE_HOST_MODEL "node-labeller.kubevirt.io/obsolete-host-model"

/* annotations */
#define ANNO_DOMAIN                "kubevirt.io/domain"
#define ANNO_VM_GENERATION         "kubevirt.io/vm-generation"
#define ANNO_PCI_TOPOLOGY          "kubevirt.io/pci-topology-version"
#define ANNO_MEMORY_OVERHEAD       "kubevirt.io/memory-overhead-bytes"
#define ANNO_LATEST_API            "kubevirt.io/latest-observed-api-version"
#define ANNO_STORAGE_API           "kubevirt.io/storage-observed-api-version"
#define ANNO_HEARTBEAT             "kubevirt.io/heartbeat"
#define ANNO_EPHEMERAL             "kubevirt.io/ephemeral-provisioning"
#define ANNO_NETWORKS              "k8s.v1.cni.cncf.io/networks"
#define ANNO_NETWORK_STATUS        "k8s.v1.cni.cncf.io/network-status"
#define ANNO_DEFAULT_NETWORK       "v1.multus-cni.io/default-network"
#define ANNO_DV_BIND_IMMEDIATE     "cdi.kubevirt.io/storage.bind.immediate.requested"
#define ANNO_DV_IMMEDIATE_CREATION "kubevirt.io/immediate-data-volume-creation"

/* finalizers */
#define FINALIZER_VMI "kubevirt.io/foregroundDeleteVirtualMachine"
#define FINALIZER_VM  "kubevirt.io/virtualMachineControllerFinalize"

/* the CA's Secret (tls.crt, tls.key), operator only; the others are in handler-api.h */
#define SECRET_CA       "kubevirt-ca"
#define SECRET_VIRT_API "kubevirt-virt-api-certs" /* serves virt-api.NAMESPACE.svc */

/* ServiceAccounts */
#define SA_OPERATOR   "kubevirt-operator"
#define SA_API        "kubevirt-apiserver"
#define SA_CONTROLLER "kubevirt-controller"
#define SA_HANDLER    "kubevirt-handler"

/* the launcher Pod */
#define LAUNCHER_CONTAINER "compute"
#define LAUNCHER_GATE      "kubevirt.io/virtual-machine-unpaused"
/* sources of volumes that become ISO disks: .../KIND/V, KIND as in mapping/volumes.c */
#define LAUNCHER_DIR_KERNEL_BOOT LAUNCHER_IMAGE_VOLUMES_DIR "/kernel-boot"

#define RESOURCE_KVM "devices.kubevirt.io/kvm"
#define RESOURCE_TUN "devices.kubevirt.io/tun"
