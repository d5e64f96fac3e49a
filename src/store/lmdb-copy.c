/* SPDX-License-Identifier: Apache-2.0 */
/* A consistent copy of a store that another process has open: LMDB readers cross processes. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"

/* Only an upper bound of what a reader may see: the file's own size, with room to grow meanwhile.
 */
static struct err *copy_map_size(const char *path, size_t *ret)
{
	_cleanup_free_ char *file = mem_fmt("%s/data.mdb", path);
	struct stat st;

	if (stat(file, &st))
		return err_errno(errno, "store '%s'", path);
	*ret = (size_t)st.st_size * 2 + (1u << 30);
	return NULL;
}

struct err *store_copy(const char *path, int fd)
{
	MDB_env *env;
	size_t map_size;
	int rc;

	TRY(copy_map_size(path, &map_size));
	rc = mdb_env_create(&env);
	if (rc)
		return err_new(ERR_IO, "store '%s': %s", path, mdb_strerror(rc));
	rc = mdb_env_set_mapsize(env, map_size);
	if (!rc)
		rc = mdb_env_open(env, path, MDB_RDONLY, 0600);
	if (!rc)
		rc = mdb_env_copyfd2(env, fd, MDB_CP_COMPACT);
	mdb_env_close(env);
	if (rc)
		return err_new(ERR_IO, "store '%s': copy: %s", path, mdb_strerror(rc));
	if (fsync(fd) && errno != EINVAL)
		return err_errno(errno, "sync the copy of store '%s'", path);
	return NULL;
}
