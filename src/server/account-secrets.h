/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Secrets of type kubernetes.io/service-account-token: whoever makes one, naming a ServiceAccount
 * in an annotation, finds a token in it that lives as long as the Secret does. It goes with its
 * account. This is in the server because nobody else may read the key that signs.
 */

#include "base/base.h"

struct apiserver;
struct err;

MUST_USE SUSPENDS struct err *account_secrets_start(struct apiserver *s);
