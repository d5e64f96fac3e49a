/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What all watches of a server share: the encoded events, and the list of open watches. */

struct apiserver;
struct watch_cache;

struct watch_cache *watch_cache_new(struct apiserver *s);
/* Ends all open watches. */
struct watch_cache *watch_cache_free(struct watch_cache *wc);
