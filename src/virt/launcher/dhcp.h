/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A DHCP server for one guest NIC: one client (by its MAC), one address, on one bridge of the Pod's
 * network namespace.
 *
 * options.dhcp of the handler's protocol is an array of
 *   {"ifname":"k6t-eth0","mac":"02:...","address":"10.0.2.2","prefix":24,"server":"10.0.2.1",
 *    "router":"10.0.2.1","mtu":1450,"hostname":"vm",
 *    "routes":[{"dst":"10.1.0.0/16","via":"10.0.0.1"}],
 *    "bootFileName":"","tftpServerName":"","ntpServers":[],"privateOptions":[{"option":240,"value":""}]}
 * Name servers and search domains are the Pod's own (resolv_conf).
 */

#include "base/str.h"

#define DHCP_MAX_PACKET 1500

struct arena;
struct dhcp;
struct err;
struct json;
struct loop;

struct dhcp_config {
	struct str ifname, hostname, boot_file, tftp_server;
	uint8_t mac[6];
	uint8_t address[4], server[4], mask[4];
	bool has_router;
	uint8_t router[4];
	uint16_t mtu;
	uint8_t dns[8][4];
	size_t n_dns;
	struct str search[8];
	size_t n_search;
	uint8_t ntp[4][4];
	size_t n_ntp;
	struct dhcp_route {
		uint8_t dst[4], via[4], prefix;
	} routes[16];
	size_t n_routes;
	struct {
		uint8_t option;
		struct str value;
	} priv[8];
	size_t n_priv;
};

/* Views in *ret point into the arena. */
MUST_USE struct err *dhcp_config_parse(struct arena *a, const struct json *v,
				       struct str resolv_conf, struct dhcp_config *ret);
/* The answer to a request; 0 when there is none to give. reply holds DHCP_MAX_PACKET bytes. */
size_t dhcp_answer(const struct dhcp_config *c, const uint8_t *req, size_t n, uint8_t *reply);

/* Serves until freed. Keeps a copy of the configuration (views are borrowed). */
MUST_USE struct err *dhcp_start(struct loop *l, const struct dhcp_config *c, struct dhcp **ret);
struct dhcp *dhcp_free(struct dhcp *d);
