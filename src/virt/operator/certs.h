/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The certificates of the virtualization layer, kept in Secrets and renewed before they end:
 *
 *     Secret kubevirt-ca                          CA, a year; renewed with 73 days left
 *     ConfigMap kubevirt-ca  ca-bundle            that CA and those before it that still count
 *     Secret kubevirt-virt-api-certs ...          30 days; renewed with 6 days left
 *
 * A new CA signs nothing that is already issued: certificates of the old one stay valid through the
 * bundle until their own renewal, so every peer has time to read the new bundle.
 */

#include "base/str.h"
#include "io/fiber.h"

struct arena;
struct client;
struct err;

/* SUSPENDS. *ret_bundle: whom to trust, as PEM. */
MUST_USE SUSPENDS struct err *certs_ensure(struct client *c, struct arena *a, struct str ns,
					   struct str *ret_bundle);
/* The certificates of old (PEM, any number) that have not ended, after those of first. */
struct str certs_merge_bundle(struct arena *a, struct str first, struct str old);
