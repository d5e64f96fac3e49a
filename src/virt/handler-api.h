/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * virt-api -> virt-handler, as upstream: HTTPS with mutual TLS on port 8186 of the node's
 * InternalIP (the Node named by the VMI's status.nodeName; no handler Pod on an Isoplane node).
 *
 *   GET /v1/namespaces/{ns}/virtualmachineinstances/{name}/console   WebSocket, plain.kubevirt.io
 *   GET /v1/namespaces/{ns}/virtualmachineinstances/{name}/vnc       WebSocket, plain.kubevirt.io
 *   PUT /v1/namespaces/{ns}/virtualmachineinstances/{name}/pause|unpause|reset|softreboot   202
 *   GET /healthz                                                     200
 *
 * virt-api may relay the WebSocket's bytes untouched (upgrade both sides, then stream_relay).
 * Failures are plain text with the status: 404 no such VMI here, 409 wrong state, 500, 503.
 *
 * Certificates: Secrets and a ConfigMap in the install namespace, made by virt-operator, read by
 * both through the API and re-read when they change: Secret kubevirt-virt-handler-server-certs
 * tls.crt tls.key: the handler's server certificate, DNS name HANDLER_SERVER_NAME Secret
 * kubevirt-virt-handler-certs         tls.crt tls.key: virt-api's client certificate, CN
 *                                              HANDLER_CLIENT_CN
 *   ConfigMap kubevirt-ca                      ca-bundle: issuer of both
 */

#define HANDLER_PORT        8186
#define HANDLER_SERVER_NAME "virt-handler.kubevirt.svc"
#define HANDLER_CLIENT_CN   "kubevirt.io:system:client:virt-handler"

#define HANDLER_SERVER_SECRET "kubevirt-virt-handler-server-certs"
#define HANDLER_CLIENT_SECRET "kubevirt-virt-handler-certs"
#define VIRT_CA_CONFIGMAP     "kubevirt-ca"
#define VIRT_CA_KEY           "ca-bundle"

#define HANDLER_SUBPROTOCOL "plain.kubevirt.io"
