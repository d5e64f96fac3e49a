/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/base.h"

/*
 * Whether KVM runs Linux guests here: the device opens, and the CPU has vmx or svm. (A paravirtual
 * KVM without them opens, answers, and hangs.)
 */
bool kvm_works(const char *device);
