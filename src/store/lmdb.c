/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded engine: opening, keys, read transactions, snapshots. */

#include "store/lmdb-engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"

#define MAP_SIZE_DEFAULT      (UINT64_C(1) << 40)
#define HISTORY_MS_DEFAULT    (INT64_C(5) * 60 * 1000)
#define HISTORY_BYTES_DEFAULT (UINT64_C(256) << 20)
#define NAME_KEPT             100 /* bytes of a hashed name, to keep it near its order */
#define KEY_HASH_OVER         440

/* ---- keys ---- */

static void key_add(struct lmdb_key *k, struct str s)
{
	PRE(k->n + s.n <= sizeof(k->p));
	if (s.n)
		memcpy(k->p + k->n, s.p, s.n);
	k->n += s.n;
}

void lmdb_key_prefix(struct lmdb_key *k, struct str resource, struct str ns)
{
	k->n = 0;
	key_add(k, resource);
	key_add(k, str_make("", 1));
	if (!str_empty(ns)) {
		key_add(k, ns);
		key_add(k, str_make("", 1));
	}
}

/* A name that does not fit is cut and told apart by its digest; the object has all of it. */
static void key_add_long_name(struct lmdb_key *k, struct str name)
{
	uint8_t digest[32];
	char hex[33];

	sha256(name, digest);
	for (size_t i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	key_add(k, str_sub(name, 0, NAME_KEPT));
	key_add(k, STR("\x01"));
	key_add(k, str_make(hex, 32));
}

void lmdb_key_make(struct lmdb_key *k, struct str resource, struct str ns, struct str name)
{
	lmdb_key_prefix(k, resource, STR_EMPTY);
	key_add(k, ns);
	key_add(k, str_make("", 1));
	if (k->n + name.n > KEY_HASH_OVER)
		key_add_long_name(k, name);
	else
		key_add(k, name);
}

struct str lmdb_key_resource(struct str key)
{
	return str_sub(key, 0, str_find_char(key, '\0', 0));
}

/* ---- errors ---- */

struct err *lmdb_err(const struct lmdb *m, int rc, const char *what)
{
	switch (rc) {
	case MDB_MAP_FULL:
		return err_new(ERR_UNAVAILABLE,
			       "store '%s': %s: its map of %llu bytes is full: "
			       "raise its limit",
			       m->path, what, (unsigned long long)m->opts.map_size);
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return err_new(ERR_UNAVAILABLE,
			       "store '%s': %s: no space left on the device: nothing was written; "
			       "free some space and try again",
			       m->path, what);
	case EIO: /* LMDB's answer to a short write, which a full disk begins with */
		return err_new(ERR_UNAVAILABLE,
			       "store '%s': %s: no space left on the device, or it fails: nothing "
			       "was written",
			       m->path, what);
	case MDB_PANIC:
		return err_new(ERR_UNAVAILABLE,
			       "store '%s': %s: an earlier write failed for good: restart the API "
			       "server",
			       m->path, what);
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
		return err_new(ERR_CORRUPT,
			       "store '%s': %s: data.mdb is damaged (%s): bring back a backup with "
			       "'isoplane restore FILE', or move the directory away to start empty",
			       m->path, what, mdb_strerror(rc));
	default:
		return err_new(ERR_UNAVAILABLE, "store '%s': %s: %s", m->path, what,
			       mdb_strerror(rc));
	}
}

static struct err *damaged(const struct lmdb *m, const char *why)
{
	return err_new(ERR_CORRUPT,
		       "store '%s': data.mdb is damaged (%s): bring back a backup with 'isoplane "
		       "restore FILE', or move the directory away to start empty",
		       m->path, why);
}

/* ---- reading ---- */

struct err *lmdb_read_begin(struct lmdb *m, MDB_txn **ret, struct lmdb_state *ret_state)
{
	MDB_val key = lmdb_val(STR("state")), val;
	MDB_txn *txn = TAKE(m->idle_read);
	int rc = txn ? mdb_txn_renew(txn) : mdb_txn_begin(m->env, NULL, MDB_RDONLY, &txn);

	if (rc) {
		if (txn)
			mdb_txn_abort(txn);
		return lmdb_err(m, rc, "read");
	}
	rc = mdb_get(txn, m->main, &key, &val);
	if (rc || val.mv_size != sizeof(*ret_state)) {
		mdb_txn_abort(txn);
		return rc ? lmdb_err(m, rc, "read the state") : damaged(m, "bad state record");
	}
	memcpy(ret_state, val.mv_data, sizeof(*ret_state));
	store_saw(&m->base, (struct rev){ ret_state->rev });
	*ret = txn;
	return NULL;
}

void lmdb_read_end(struct lmdb *m, MDB_txn *txn)
{
	if (m->idle_read) {
		mdb_txn_abort(txn);
		return;
	}
	mdb_txn_reset(txn);
	m->idle_read = txn;
}

static struct rev lmdb_oldest(const struct store *s)
{
	/* base is its first member */
	const struct lmdb *m = (const void *)s;

	return (struct rev){ m->compacted };
}

static uint64_t lmdb_file_bytes(const struct store *s)
{
	const struct lmdb *m = (const void *)s;
	struct stat st;
	int fd;

	return mdb_env_get_fd(m->env, &fd) || fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_size;
}

/* ---- snapshots ---- */

struct snapshot {
	struct lmdb *m;
	int fd, rc;
	bool done;
	struct waitq wait;
};

static void snapshot_done(void *p)
{
	struct snapshot *sn = p;

	sn->done = true;
	waitq_wake_all(&sn->wait);
}

static void *snapshot_thread(void *p)
{
	struct snapshot *sn = p;

	sn->rc = mdb_env_copyfd2(sn->m->env, sn->fd, MDB_CP_COMPACT);
	if (!sn->rc && fsync(sn->fd) < 0 && errno != EINVAL && errno != EROFS)
		sn->rc = errno;
	loop_post_from_thread(sn->m->base.loop, snapshot_done, sn);
	return NULL;
}

static struct err *lmdb_snapshot(struct store *s, int fd)
{
	struct lmdb *m = container_of(s, struct lmdb, base);
	struct snapshot sn = { .m = m, .fd = fd };
	struct err *e = NULL;
	pthread_t thread;
	int rc;

	waitq_init(&sn.wait);
	rc = pthread_create(&thread, NULL, snapshot_thread, &sn);
	if (rc)
		return err_errno(rc, "store '%s': snapshot", m->path);
	/* The thread writes to our stack: it has to end first. */
	fiber_mask_cancel();
	while (!sn.done && !e)
		e = waitq_wait(&sn.wait);
	fiber_unmask_cancel();
	pthread_join(thread, NULL);
	if (e)
		return e;
	return sn.rc ? lmdb_err(m, sn.rc, "snapshot") : NULL;
}

/* ---- opening ---- */

static struct err *lock_dir(const char *path, int *ret_fd)
{
	_cleanup_free_ char *file = mem_fmt("%s/lock", path);
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_errno(errno, "open '%s'", file);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int errnum = errno;

		close(fd);
		if (errnum == EWOULDBLOCK)
			return err_new(ERR_UNAVAILABLE,
				       "store '%s': another process has it open: stop that one or "
				       "choose another --data-dir",
				       path);
		return err_errno(errnum, "lock '%s'", file);
	}
	*ret_fd = fd;
	return NULL;
}

static struct err *sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 ? -1 : fsync(fd);
	int errnum = errno;

	if (fd >= 0)
		close(fd);
	return rc < 0 ? err_errno(errnum, "sync directory '%s'", path) : NULL;
}

/* LMDB trusts its meta page: a file cut short would end in SIGBUS at the first read. */
static struct err *check_size(const struct lmdb *m)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	int fd;

	if (mdb_env_info(m->env, &info) || mdb_env_stat(m->env, &stat) ||
	    mdb_env_get_fd(m->env, &fd) || fstat(fd, &st) < 0)
		return damaged(m, "no information about the file");
	/* Pages 0 and 1, the metas, are all that a new file has. */
	if (info.me_last_pgno > 1 &&
	    (uint64_t)st.st_size < (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize)
		return damaged(m, "the file was cut short");
	return NULL;
}

static int open_tables(struct lmdb *m, MDB_txn *txn)
{
	int rc = mdb_dbi_open(txn, NULL, 0, &m->main);

	if (!rc)
		rc = mdb_dbi_open(txn, "objects", MDB_CREATE, &m->objects);
	if (!rc)
		rc = mdb_dbi_open(txn, "log", MDB_CREATE | MDB_INTEGERKEY, &m->log);
	if (!rc)
		rc = mdb_dbi_open(txn, "counts", MDB_CREATE, &m->counts);
	return rc;
}

static struct err *load_state(struct lmdb *m, MDB_txn *txn)
{
	MDB_val key = lmdb_val(STR("state")), val;
	MDB_stat stat;
	int rc = mdb_get(txn, m->main, &key, &val);

	if (rc == MDB_NOTFOUND && !mdb_stat(txn, m->objects, &stat) && stat.ms_entries == 0) {
		/* Revision 0 means "any" to clients: the empty store is at 1. */
		m->state = (struct lmdb_state){
			.magic = LMDB_STATE_MAGIC,
			.rev = 1,
			.compacted = 1,
		};
		val = (MDB_val){ sizeof(m->state), &m->state };
		rc = mdb_put(txn, m->main, &key, &val, 0);
		return rc ? lmdb_err(m, rc, "create") : NULL;
	}
	if (rc)
		return rc == MDB_NOTFOUND ? damaged(m, "no state record")
					  : lmdb_err(m, rc, "read the state");
	if (val.mv_size != sizeof(m->state))
		return damaged(m, "bad state record");
	memcpy(&m->state, val.mv_data, sizeof(m->state));
	if (m->state.magic != LMDB_STATE_MAGIC || m->state.compacted > m->state.rev)
		return damaged(m, "bad state record");
	return NULL;
}

static struct err *load_counts(struct lmdb *m, MDB_txn *txn)
{
	MDB_cursor *c;
	MDB_val key, val;
	int rc = mdb_cursor_open(txn, m->counts, &c);

	if (rc)
		return lmdb_err(m, rc, "read the counts");
	while (!(rc = mdb_cursor_get(c, &key, &val, MDB_NEXT))) {
		uint64_t n;

		if (val.mv_size != sizeof(n))
			break;
		memcpy(&n, val.mv_data, sizeof(n));
		store_add_count(&m->base, lmdb_str(key), (int64_t)n);
	}
	mdb_cursor_close(c);
	if (rc != MDB_NOTFOUND)
		return rc ? lmdb_err(m, rc, "read the counts") : damaged(m, "bad count");
	return NULL;
}

static struct err *load(struct lmdb *m)
{
	struct err *e = NULL;
	MDB_txn *txn;
	int rc = mdb_txn_begin(m->env, NULL, 0, &txn);

	if (rc)
		return lmdb_err(m, rc, "open");
	rc = open_tables(m, txn);
	if (rc)
		e = lmdb_err(m, rc, "open");
	if (!e)
		e = load_state(m, txn);
	if (!e)
		e = load_counts(m, txn);
	if (e) {
		mdb_txn_abort(txn);
		return e;
	}
	rc = mdb_txn_commit(txn);
	return rc ? lmdb_err(m, rc, "open") : NULL;
}

static struct err *open_env(struct lmdb *m)
{
	int rc = mdb_env_create(&m->env);

	if (!rc)
		rc = mdb_env_set_maxdbs(m->env, 8);
	if (!rc)
		rc = mdb_env_set_maxreaders(m->env, 16);
	if (!rc)
		rc = mdb_env_set_mapsize(m->env, m->opts.map_size);
	if (!rc)
		rc = mdb_env_open(m->env, m->path, MDB_NOTLS | MDB_NORDAHEAD, 0600);
	return rc ? lmdb_err(m, rc, "open") : NULL;
}

static void lmdb_close(struct store *s)
{
	struct lmdb *m = container_of(s, struct lmdb, base);

	lmdb_commit_stop(m);
	lazy_written(m);
	recent_drop(m, UINT64_MAX);
	map_fini(&m->recent_by_key);
	store_fini(&m->base);
	if (m->idle_read)
		mdb_txn_abort(m->idle_read);
	if (m->env)
		mdb_env_close(m->env);
	if (m->lock_fd >= 0)
		close(m->lock_fd);
	m->closed = true;
	lmdb_free(m);
}

/* Once nothing on its way to the loop refers to it any more. */
void lmdb_free(struct lmdb *m)
{
	if (m->posted)
		return;
	pthread_mutex_destroy(&m->mutex);
	pthread_cond_destroy(&m->cond);
	free(m->path);
	free(m);
}

static const struct store_engine_ops lmdb_ops = {
	.get = lmdb_get,
	.list = lmdb_list,
	.commit = lmdb_commit,
	.history = lmdb_history,
	.oldest = lmdb_oldest,
	.snapshot = lmdb_snapshot,
	.file_bytes = lmdb_file_bytes,
	.close = lmdb_close,
};

static struct err *lmdb_open(struct lmdb *m)
{
	TRY(file_mkdir_p(m->path, 0700));
	TRY(lock_dir(m->path, &m->lock_fd));
	TRY(open_env(m));
	TRY(check_size(m));
	TRY(load(m));
	TRY(sync_dir(m->path));
	/* a crash may have lost revisions that somebody has seen: they are not given again */
	if (m->opts.lazy)
		m->state.rev += LAZY_MAX;
	m->base.delivered.n = m->base.seen.n = m->state.rev;
	m->compacted = m->state.compacted;
	m->on_disk = m->state.rev;
	return lmdb_commit_start(m);
}

struct err *store_open(struct loop *l, const struct store_opts *opts, struct store **ret)
{
	struct lmdb *m = mem_new(struct lmdb);
	pthread_condattr_t attr;
	struct err *e;

	m->opts = *opts;
	m->path = mem_strdup(str_from(opts->path));
	m->opts.path = m->path;
	m->lock_fd = -1;
	if (!m->opts.map_size)
		m->opts.map_size = MAP_SIZE_DEFAULT;
	if (!m->opts.history_ms)
		m->opts.history_ms = HISTORY_MS_DEFAULT;
	if (!m->opts.history_bytes)
		m->opts.history_bytes = HISTORY_BYTES_DEFAULT;
	list_init(&m->queue);
	list_init(&m->lazy);
	list_init(&m->recent);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->cond, &attr);
	pthread_condattr_destroy(&attr);
	m->wake_at = 1;
	store_init(&m->base, l, &lmdb_ops, (struct rev){ 1 });
	if (opts->backlog_bytes)
		m->base.backlog_bytes = opts->backlog_bytes;
	e = lmdb_open(m);
	if (e) {
		lmdb_close(&m->base);
		return e;
	}
	*ret = &m->base;
	return NULL;
}

/* ---- restoring ---- */

static struct err *copy_fd(int from, int to, const char *name)
{
	char buf[8192];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(to, buf + at, (size_t)(n - at))) < 0)
				return err_errno(errno, "write '%s'", name);
	if (n < 0)
		return err_errno(errno, "read the snapshot");
	return fsync(to) < 0 ? err_errno(errno, "sync '%s'", name) : NULL;
}

static struct err *restore_checked(const char *path, const char *staging)
{
	_cleanup_free_ char *file = mem_fmt("%s/data.mdb", path);
	_cleanup_free_ char *old = mem_fmt("%s/data.mdb.old", path);
	_cleanup_free_ char *fresh = mem_fmt("%s/data.mdb", staging);
	_cleanup_free_ char *locks = mem_fmt("%s/lock.mdb", path);
	struct lmdb m = { .path = mem_strdup(str_from(staging)), .lock_fd = -1 };
	struct err *e;

	/* Open it once, as the server will: what is no store must not replace one. */
	m.opts.map_size = MAP_SIZE_DEFAULT;
	store_init(&m.base, NULL, &lmdb_ops, (struct rev){ 1 });
	e = open_env(&m);
	if (!e)
		e = check_size(&m);
	if (!e)
		e = load(&m);
	if (m.env)
		mdb_env_close(m.env);
	store_fini(&m.base);
	free(m.path);
	if (e)
		return err_wrap(e, "the snapshot is not usable");
	if (rename(file, old) < 0 && errno != ENOENT)
		return err_errno(errno, "rename '%s'", file);
	if (rename(fresh, file) < 0)
		return err_errno(errno, "rename '%s'", fresh);
	unlink(locks);
	return sync_dir(path);
}

struct err *store_restore(const char *path, int fd)
{
	_cleanup_free_ char *staging = mem_fmt("%s/restore", path);
	_cleanup_free_ char *file = mem_fmt("%s/restore/data.mdb", path);
	struct err *e = NULL;
	int lock = -1, out = -1;

	TRY(file_mkdir_p(path, 0700));
	TRY(lock_dir(path, &lock));
	e = file_remove_tree(staging);
	if (!e)
		e = file_mkdir_p(staging, 0700);
	if (!e) {
		out = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		e = out < 0 ? err_errno(errno, "create '%s'", file) : copy_fd(fd, out, file);
	}
	if (out >= 0)
		close(out);
	if (!e)
		e = restore_checked(path, staging);
	err_ignore(file_remove_tree(staging), "only a leftover");
	close(lock);
	return e;
}
