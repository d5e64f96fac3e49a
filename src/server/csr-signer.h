/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What happens to CertificateSigningRequests for the signers of kubernetes.io: requests of nodes
 * are approved by themselves, approved ones are signed with the cluster's CA (whose key only this
 * process may read), and old ones go.
 */

#include "base/base.h"

struct apiserver;
struct err;

MUST_USE SUSPENDS struct err *csr_signer_start(struct apiserver *s);
