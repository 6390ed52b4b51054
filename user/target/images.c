/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>
#include <stdlib.h>

#include "target/images.h"

struct images {
	struct image **list;	/* by the module's index */
	size_t cnt;
};

int images_open(const struct target *t, struct images **ret)
{
	struct images *images = calloc(1, sizeof(*images));
	int err = 0;

	if (images)
		images->list = calloc(t->modules_cnt + 1, sizeof(*images->list));
	if (!images || !images->list) {
		images_free(images);
		return -ENOMEM;
	}
	images->cnt = t->modules_cnt;
	for (size_t i = 0; i < t->modules_cnt && err != -ENOMEM && err != -EPERM; i++) {
		const struct target_module *m = t->modules[i];

		/* it may have been cut short meanwhile: then it is none any more */
		if (m->facts.is_elf && !m->is_vdso && target_module_is_mapped(t, m))
			err = image_open(m->fd, &images->list[i]);
	}
	if (err == -ENOMEM || err == -EPERM) {
		images_free(images);
		return err;
	}
	*ret = images;
	return 0;
}

struct images *images_free(struct images *images)
{
	if (!images)
		return NULL;
	for (size_t i = 0; i < images->cnt; i++)
		image_free(images->list[i]);
	free(images->list);
	free(images);
	return NULL;
}

const struct image *images_of(const struct images *images, const struct target_module *m)
{
	return m->index < images->cnt ? images->list[m->index] : NULL;
}
