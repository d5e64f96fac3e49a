/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pulls back off per Pod and image: 10 s doubling to 5 min, as upstream. Image volumes are views of
 * the image's snapshot; the mount outlives both containerd and us.
 */

#include "node/images.h"

#include <dirent.h>

#include "api/meta.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "io/fiber.h"
#include "io/file.h"
#include "node/agent.h"
#include "node/cri.h"
#include "node/mount.h"
#include "node/snapshots.h"

#define BACKOFF_FIRST_MS (10 * 1000)
#define BACKOFF_MAX_MS   (300 * 1000)
#define PULL_TIMEOUT_MS  (30 * 60 * 1000)

struct pull_backoff {
	int64_t delay_ms;
	struct mono until;
	char *last;
};

struct images {
	struct agent *agent;
	struct snapshots *snapshots;
	struct map backoff; /* "uid image" -> struct pull_backoff */
};

struct images *images_new(struct agent *ag)
{
	struct images *im = mem_new(struct images);

	im->agent = ag;
	im->snapshots = snapshots_new(ag->cfg.cri_socket);
	return im;
}

static void pull_backoff_free(struct pull_backoff *b)
{
	if (b)
		free(b->last);
	free(b);
}

struct images *images_free(struct images *im)
{
	if (!im)
		return NULL;
	map_for_each(e, &im->backoff)
		pull_backoff_free(e->val);
	map_fini(&im->backoff);
	snapshots_free(im->snapshots);
	free(im);
	return NULL;
}

/* names */

static bool image_name_ok(struct str s)
{
	struct str tail;
	size_t at = str_find_char(s, '@', 0);

	if (!s.n || s.n > 512)
		return false;
	tail = str_skip(s, at);
	if (tail.n && !str_has_prefix(tail, STR("@sha256:")))
		return false;
	s = str_sub(s, 0, at);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool upper = c >= 'A' && c <= 'Z';

		/* upper case is for tags, and for the registry's host */
		if (upper && str_find_char(s, '/', i) != s.n && str_find_char(s, '/', 0) < i)
			return false;
		if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    !strchr("._-/:", c))
			return false;
	}
	return s.n && s.p[0] != '/' && s.p[s.n - 1] != '/' && s.p[s.n - 1] != ':';
}

static struct str image_tag(struct str s)
{
	size_t slash = 0;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '/')
			slash = i;
	s = str_skip(s, slash);
	return str_skip(s, str_find_char(s, ':', 0));
}

/* Kept by its tag or digest: what the API defaults imagePullPolicy by. */
static struct str image_policy(const struct image_request *rq)
{
	struct str tag;

	if (rq->policy.n)
		return rq->policy;
	if (str_contains(rq->image, STR("@")))
		return STR("IfNotPresent");
	tag = image_tag(rq->image);
	return !tag.n || str_eqz(tag, ":latest") ? STR("Always") : STR("IfNotPresent");
}

/* pulls */

static bool image_fail(struct image_result *ret, const char *reason, struct str message,
		       int64_t retry_ms)
{
	ret->reason = reason;
	ret->message = message;
	ret->retry_ms = retry_ms;
	return false;
}

static void image_found(struct arena *a, const CRI(Image) * img, struct image_result *ret)
{
	*ret = (struct image_result){
		.id = str_from(img->id),
		.ref = img->n_repo_digests ? str_from(img->repo_digests[0]) : str_from(img->id),
	};
}

static bool image_backing_off(struct images *im, struct arena *a, const struct image_request *rq,
			      struct str key, struct image_result *ret)
{
	const struct pull_backoff *b = map_find(&im->backoff, key);
	int64_t left = b ? (b->until.ns - mono_now().ns) / NS_PER_MS : 0;

	if (left <= 0)
		return false;
	agent_event(im->agent, rq->pod, "Normal", "BackOff", "Back-off pulling image \"%.*s\"",
		    STR_ARG(rq->image));
	agent_event(im->agent, rq->pod, "Warning", "Failed", "Error: ImagePullBackOff");
	image_fail(ret, "ImagePullBackOff",
		   arena_fmt(a, "Back-off pulling image \"%.*s\": ErrImagePull: %s",
			     STR_ARG(rq->image), b->last),
		   left);
	return true;
}

static void image_back_off(struct images *im, struct str key, struct str why)
{
	struct pull_backoff *b = map_find(&im->backoff, key);

	if (!b) {
		b = mem_new(struct pull_backoff);
		map_put(&im->backoff, key, b);
	}
	b->delay_ms = b->delay_ms ? MIN(b->delay_ms * 2, BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
	b->until = mono_add_ms(mono_now(), b->delay_ms);
	free(b->last);
	b->last = mem_strdup(why);
}

static bool image_pull(struct images *im, struct arena *a, const struct image_request *rq,
		       struct image_result *ret)
{
	struct str key = arena_fmt(a, "%.*s %.*s", STR_ARG(meta_uid(rq->pod)), STR_ARG(rq->image));
	struct mono begin = mono_now(), old;
	const CRI(Image) *img = NULL;
	struct err *e;
	struct str ref;

	if (image_backing_off(im, a, rq, key, ret))
		return false;
	agent_event(im->agent, rq->pod, "Normal", "Pulling", "Pulling image \"%.*s\"",
		    STR_ARG(rq->image));
	old = fiber_limit_ms(PULL_TIMEOUT_MS);
	e = cri_pull_image(im->agent->cri, a, rq->image, NULL, NULL, &ref);
	fiber_restore_deadline(old);
	if (!e)
		e = cri_image_status(im->agent->cri, a, rq->image, &img);
	if (!e && !img)
		e = err_new(ERR_NOT_FOUND, "image is absent after its pull");
	if (e) {
		struct str why = arena_fmt(a, "failed to pull image \"%.*s\": %.*s",
					   STR_ARG(rq->image), STR_ARG(err_msg(e)));

		agent_event(im->agent, rq->pod, "Warning", "Failed",
			    "Failed to pull image \"%.*s\": %.*s", STR_ARG(rq->image),
			    STR_ARG(err_msg(e)));
		agent_event(im->agent, rq->pod, "Warning", "Failed", "Error: ErrImagePull");
		err_ignore(e, "told in the status and an event");
		image_back_off(im, key, why);
		return image_fail(ret, "ErrImagePull", why, 1000);
	}
	pull_backoff_free(map_del(&im->backoff, key));
	image_found(a, img, ret);
	agent_event(
		im->agent, rq->pod, "Normal", "Pulled",
		"Successfully pulled image \"%.*s\" in %lldms (%lldms including waiting). Image "
		"size: %llu bytes.",
		STR_ARG(rq->image), (long long)mono_ms_since(begin),
		(long long)mono_ms_since(begin), (unsigned long long)img->size);
	return true;
}

bool images_ensure(struct images *im, struct arena *a, const struct image_request *rq,
		   struct image_result *ret)
{
	struct str policy = image_policy(rq);
	const CRI(Image) *img = NULL;
	struct err *e;

	if (!image_name_ok(rq->image)) {
		agent_event(im->agent, rq->pod, "Warning", "InspectFailed",
			    "Failed to apply default image tag \"%.*s\": couldn't parse image name "
			    "\"%.*s\": invalid reference format",
			    STR_ARG(rq->image), STR_ARG(rq->image));
		return image_fail(ret, "InvalidImageName",
				  arena_fmt(a,
					    "Failed to apply default image tag \"%.*s\": couldn't "
					    "parse image name \"%.*s\": invalid reference format",
					    STR_ARG(rq->image), STR_ARG(rq->image)),
				  BACKOFF_FIRST_MS);
	}
	e = cri_image_status(im->agent->cri, a, rq->image, &img);
	if (e) {
		struct str why = arena_str(a, err_msg(e));

		err_ignore(e, "told in the status");
		return image_fail(ret, "ImageInspectError", why, 5000);
	}
	if (str_eqz(policy, "Always") || (!img && !str_eqz(policy, "Never")))
		return image_pull(im, a, rq, ret);
	if (!img) {
		struct str why = arena_fmt(
			a, "Container image \"%.*s\" is not present with pull policy of Never",
			STR_ARG(rq->image));

		agent_event(im->agent, rq->pod, "Warning", "ErrImageNeverPull", "%.*s",
			    STR_ARG(why));
		return image_fail(ret, "ErrImageNeverPull", why, BACKOFF_FIRST_MS);
	}
	image_found(a, img, ret);
	if (rq->container)
		agent_event(im->agent, rq->pod, "Normal", "Pulled",
			    "Container image \"%.*s\" already present on machine",
			    STR_ARG(rq->image));
	return true;
}

/* mounts */

/* The snapshot of all layers together, which the runtime tells in its verbose answer. */
static struct err *images_chain(struct images *im, struct arena *a, struct str id, struct str *ret)
{
	struct str info;
	struct json *o;

	TRY(cri_image_info(im->agent->cri, a, id, &info));
	TRY(json_parse(a, info, &o));
	*ret = json_str_at(o, "chainID");
	if (!ret->n)
		return err_new(ERR_PROTOCOL, "the runtime does not tell the image's chain");
	return NULL;
}

struct err *images_mount(struct images *im, struct arena *a, struct str id, struct str dir)
{
	struct str chain;

	if (mount_is_at(a, dir))
		return NULL;
	TRY(images_chain(im, a, id, &chain));
	return snapshots_mount(im->snapshots, a, chain, dir, arena_strz(a, dir));
}

void images_unmount_below(struct images *im, struct arena *a, struct str prefix)
{
	struct str top = arena_fmt(a, "%.*s/volumes/kubernetes.io~image", STR_ARG(prefix));
	DIR *d = opendir(top.p);
	struct dirent *ent;

	if (!d)
		return;
	while ((ent = readdir(d))) {
		struct str dir = arena_fmt(a, "%.*s/%s", STR_ARG(top), ent->d_name);

		if (ent->d_name[0] != '.')
			err_log(NULL, LOG_WARN, "cannot unmount an image",
				snapshots_unmount(im->snapshots, a, dir, dir.p));
	}
	closedir(d);
}
