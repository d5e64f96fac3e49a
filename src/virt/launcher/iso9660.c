/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sectors of the image:
 *   0..15 empty, 16 primary descriptor, 17 Joliet descriptor, 18 terminator,
 *   19..22 path tables (primary little and big endian, Joliet little and big endian),
 *   then the primary directories, the Joliet directories, the files.
 * Both trees point to the same files. Primary names are made up (F0000001.;1): whoever reads these
 * disks knows Joliet.
 */

#include "virt/launcher/iso9660.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/err.h"

#define ISO_SECTOR      2048
#define ISO_PATH_TABLES 19
#define ISO_FIRST_FREE  23
#define ISO_MAX_NAME    64

struct iso_node {
	struct str name;
	struct str data;
	struct iso_node *parent, *first, *last, *next;
	bool is_dir;
	unsigned number;                 /* directories from 1, files from 1 */
	uint32_t sector[2], dir_size[2]; /* of a directory: primary, Joliet; files use [0] */
};

struct iso {
	struct arena *a;
	struct iso_node **dirs; /* in the order of their numbers */
	unsigned n_dirs, n_files;
	struct iso_node *root;
	uint32_t sectors;
};

static void iso_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void iso_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void iso_le32(uint8_t *p, uint32_t v)
{
	iso_le16(p, (uint16_t)v);
	iso_le16(p + 2, (uint16_t)(v >> 16));
}

static void iso_be32(uint8_t *p, uint32_t v)
{
	iso_be16(p, (uint16_t)(v >> 16));
	iso_be16(p + 2, (uint16_t)v);
}

static void iso_both16(uint8_t *p, uint16_t v)
{
	iso_le16(p, v);
	iso_be16(p + 2, v);
}

static void iso_both32(uint8_t *p, uint32_t v)
{
	iso_le32(p, v);
	iso_be32(p + 4, v);
}

static uint32_t iso_sectors(size_t bytes)
{
	return (uint32_t)((bytes + ISO_SECTOR - 1) / ISO_SECTOR);
}

/* the tree */

static struct iso_node *iso_child(struct iso *iso, struct iso_node *dir, struct str name,
				  bool is_dir)
{
	struct iso_node *n;

	for (n = dir->first; n; n = n->next) {
		if (str_eq(n->name, name))
			return n;
	}
	n = arena_new_obj(iso->a, struct iso_node);
	n->name = name;
	n->parent = dir;
	n->is_dir = is_dir;
	n->number = is_dir ? iso->n_dirs + 1 : iso->n_files + 1;
	if (is_dir)
		iso->dirs[iso->n_dirs++] = n;
	else
		iso->n_files++;
	if (dir->last)
		dir->last->next = n;
	else
		dir->first = n;
	dir->last = n;
	return n;
}

static struct err *iso_add(struct iso *iso, const struct iso_file *f)
{
	struct iso_node *dir = iso->root;
	struct str rest = f->path, name;

	while (str_cut(&rest, '/', &name) || !str_empty(name)) {
		struct iso_node *n;
		bool leaf = str_empty(rest);

		if (str_empty(name) || name.n > ISO_MAX_NAME || str_eqz(name, "..") ||
		    (!leaf && iso->n_dirs == ISO_MAX_FILES))
			return err_new(ERR_BAD_REQUEST,
				       "file name '" STR_FMT "' does not fit an ISO",
				       STR_ARG(f->path));
		n = iso_child(iso, dir, name, !leaf);
		if (n->is_dir == leaf)
			return err_new(ERR_BAD_REQUEST, "'" STR_FMT "' is a file and a directory",
				       STR_ARG(f->path));
		if (leaf) {
			n->data = f->data;
			return NULL;
		}
		dir = n;
	}
	return err_new(ERR_BAD_REQUEST, "an empty file name");
}

/* directory records */

/* Bytes of a name in a tree: Joliet is UCS-2 of (here) one unit per byte. */
static size_t iso_name_size(const struct iso_node *n, unsigned tree)
{
	if (tree == 1)
		return n->name.n * 2;
	return n->is_dir ? 8 : 11; /* D0000001, F0000001.;1 */
}

static void iso_name(const struct iso_node *n, unsigned tree, uint8_t *p)
{
	char made[16];

	if (tree == 0) {
		snprintf(made, sizeof(made), n->is_dir ? "D%07u" : "F%07u.;1", n->number);
		memcpy(p, made, iso_name_size(n, 0));
		return;
	}
	for (size_t i = 0; i < n->name.n; i++)
		iso_be16(p + i * 2, (uint8_t)n->name.p[i]);
}

static size_t iso_record_size(size_t name)
{
	return (33 + name + 1) & ~(size_t)1;
}

static size_t iso_dir_size(const struct iso_node *dir, unsigned tree)
{
	size_t used = 2 * iso_record_size(1);

	for (const struct iso_node *n = dir->first; n; n = n->next) {
		size_t r = iso_record_size(iso_name_size(n, tree));

		/* A record does not cross a sector. */
		if (used % ISO_SECTOR + r > ISO_SECTOR)
			used = (used / ISO_SECTOR + 1) * ISO_SECTOR;
		used += r;
	}
	return (used + ISO_SECTOR - 1) / ISO_SECTOR * ISO_SECTOR;
}

static size_t iso_record(uint8_t *p, const struct iso_node *n, unsigned tree, const uint8_t *name,
			 size_t name_n)
{
	size_t size = iso_record_size(name_n);

	p[0] = (uint8_t)size;
	iso_both32(p + 2, n->is_dir ? n->sector[tree] : n->sector[0]);
	iso_both32(p + 10, n->is_dir ? n->dir_size[tree] : (uint32_t)n->data.n);
	p[18] = 70; /* 1970-01-01 */
	p[19] = 1;
	p[20] = 1;
	p[25] = n->is_dir ? 2 : 0;
	iso_both16(p + 28, 1);
	p[32] = (uint8_t)name_n;
	memcpy(p + 33, name, name_n);
	return size;
}

static void iso_write_dir(uint8_t *p, const struct iso_node *dir, unsigned tree)
{
	const struct iso_node *parent = dir->parent ? dir->parent : dir;
	size_t at = iso_record(p, dir, tree, (const uint8_t *)"\0", 1);

	at += iso_record(p + at, parent, tree, (const uint8_t *)"\1", 1);
	for (const struct iso_node *n = dir->first; n; n = n->next) {
		uint8_t name[ISO_MAX_NAME * 2];
		size_t name_n = iso_name_size(n, tree), r = iso_record_size(name_n);

		iso_name(n, tree, name);
		if (at % ISO_SECTOR + r > ISO_SECTOR)
			at = (at / ISO_SECTOR + 1) * ISO_SECTOR;
		at += iso_record(p + at, n, tree, name, name_n);
	}
	POST(at <= dir->dir_size[tree]);
}

/* path tables and descriptors */

static size_t iso_path_table(const struct iso *iso, unsigned tree, bool big, uint8_t *p)
{
	size_t at = 0;

	for (unsigned i = 0; i < iso->n_dirs; i++) {
		const struct iso_node *d = iso->dirs[i];
		size_t name_n = d->parent ? iso_name_size(d, tree) : 1;
		uint16_t parent = (uint16_t)(d->parent ? d->parent->number : 1);
		size_t size = 8 + ((name_n + 1) & ~(size_t)1);

		if (p) {
			p[at] = (uint8_t)name_n;
			(big ? iso_be32 : iso_le32)(p + at + 2, d->sector[tree]);
			(big ? iso_be16 : iso_le16)(p + at + 6, parent);
			if (d->parent)
				iso_name(d, tree, p + at + 8);
		}
		at += size;
	}
	return at;
}

static void iso_text(uint8_t *p, size_t n, struct str s, unsigned tree)
{
	if (tree == 0) {
		memset(p, ' ', n);
		memcpy(p, s.p, MIN(s.n, n));
		return;
	}
	for (size_t i = 0; i + 1 < n; i += 2)
		iso_be16(p + i, i / 2 < s.n ? (uint8_t)s.p[i / 2] : ' ');
}

static void iso_descriptor(const struct iso *iso, uint8_t *p, unsigned tree, struct str volume_id)
{
	static const char no_date[17] = "0000000000000000";

	p[0] = tree ? 2 : 1;
	memcpy(p + 1, "CD001\1", 6);
	iso_text(p + 8, 32, STR_EMPTY, tree);
	iso_text(p + 40, 32, volume_id, tree);
	iso_both32(p + 80, iso->sectors);
	if (tree)
		memcpy(p + 88, "%/E", 3);
	iso_both16(p + 120, 1);
	iso_both16(p + 124, 1);
	iso_both16(p + 128, ISO_SECTOR);
	iso_both32(p + 132, (uint32_t)iso_path_table(iso, tree, false, NULL));
	iso_le32(p + 140, ISO_PATH_TABLES + tree * 2);
	iso_be32(p + 148, ISO_PATH_TABLES + tree * 2 + 1);
	iso_record(p + 156, iso->root, tree, (const uint8_t *)"\0", 1);
	iso_text(p + 190, 623, STR_EMPTY, tree);
	for (unsigned i = 0; i < 4; i++)
		memcpy(p + 813 + i * 17, no_date, sizeof(no_date) - 1);
	p[881] = 1;
}

static struct err *iso_layout(struct iso *iso)
{
	uint64_t at = ISO_FIRST_FREE;

	for (unsigned tree = 0; tree < 2; tree++) {
		if (iso_path_table(iso, tree, false, NULL) > ISO_SECTOR)
			return err_new(ERR_TOO_LARGE, "too many directories for an ISO");
		for (unsigned i = 0; i < iso->n_dirs; i++) {
			struct iso_node *d = iso->dirs[i];

			d->sector[tree] = (uint32_t)at;
			d->dir_size[tree] = (uint32_t)iso_dir_size(d, tree);
			at += iso_sectors(d->dir_size[tree]);
		}
	}
	for (unsigned i = 0; i < iso->n_dirs; i++) {
		for (struct iso_node *n = iso->dirs[i]->first; n; n = n->next) {
			if (n->is_dir)
				continue;
			n->sector[0] = (uint32_t)at;
			at += MAX(iso_sectors(n->data.n), 1u);
		}
	}
	if (at * ISO_SECTOR > ISO_MAX_BYTES)
		return err_new(ERR_TOO_LARGE, "the disk would be larger than 32 MiB");
	iso->sectors = (uint32_t)at;
	return NULL;
}

static void iso_fill(const struct iso *iso, uint8_t *p, struct str volume_id)
{
	for (unsigned tree = 0; tree < 2; tree++) {
		iso_descriptor(iso, p + (16 + tree) * ISO_SECTOR, tree, volume_id);
		for (unsigned big = 0; big < 2; big++)
			iso_path_table(iso, tree, big,
				       p + (ISO_PATH_TABLES + tree * 2 + big) * ISO_SECTOR);
		for (unsigned i = 0; i < iso->n_dirs; i++)
			iso_write_dir(p + (size_t)iso->dirs[i]->sector[tree] * ISO_SECTOR,
				      iso->dirs[i], tree);
	}
	memcpy(p + 18 * ISO_SECTOR, "\377CD001\1", 7);
	for (unsigned i = 0; i < iso->n_dirs; i++) {
		for (const struct iso_node *n = iso->dirs[i]->first; n; n = n->next) {
			if (!n->is_dir && n->data.n)
				memcpy(p + (size_t)n->sector[0] * ISO_SECTOR, n->data.p, n->data.n);
		}
	}
}

struct err *iso_write(struct arena *a, struct str volume_id, const struct iso_file *files, size_t n,
		      struct buf *out)
{
	struct iso iso = { .a = a, .n_dirs = 1 };
	size_t size;

	if (n > ISO_MAX_FILES)
		return err_new(ERR_TOO_LARGE, "more than %d files", ISO_MAX_FILES);
	iso.dirs = arena_array(a, ISO_MAX_FILES + 1, sizeof(struct iso_node *));
	iso.root = iso.dirs[0] = arena_new_obj(a, struct iso_node);
	iso.root->is_dir = true;
	iso.root->number = 1;
	for (size_t i = 0; i < n; i++)
		TRY(iso_add(&iso, &files[i]));
	TRY(iso_layout(&iso));
	size = (size_t)iso.sectors * ISO_SECTOR;
	buf_reserve(out, size);
	memset(out->p + out->n, 0, size);
	iso_fill(&iso, (uint8_t *)out->p + out->n, volume_id);
	out->n += size;
	out->p[out->n] = '\0';
	return NULL;
}
