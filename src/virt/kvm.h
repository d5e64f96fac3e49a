/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether this machine can run guests by KVM: /dev/kvm opens, a one-instruction guest returns
 * within a second, and on x86 the CPU shows vmx or svm (a paravirtual /dev/kvm without them
 * runs that guest and hangs on a real one).
 */

#include "base/base.h"

/* *ret_why: what is missing, for people; static. Takes up to a second when the guest hangs. */
bool kvm_usable(const char **ret_why);
