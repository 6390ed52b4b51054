/* SPDX-License-Identifier: GPL-2.0-only */
/* A constant (const volatile) of a BPF object that is not loaded yet, by its name: without a skeleton. */
#ifndef VM_CONSTANT_H
#define VM_CONSTANT_H

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* 0, or -ENOENT: the object has no such 32-bit constant. */
static inline int constant_set(struct bpf_object *obj, const char *name, uint32_t value)
{
	const struct btf *btf = bpf_object__btf(obj);
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_type *section = id < 0 ? NULL : btf__type_by_id(btf, id);
	struct bpf_map *map, *constants = NULL;
	size_t size;
	char *bytes;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__is_internal(map) && strstr(bpf_map__name(map), ".rodata"))
			constants = map;
	bytes = constants ? (char *)bpf_map__initial_value(constants, &size) : NULL;
	for (int i = 0; bytes && section && i < btf_vlen(section); i++) {
		const struct btf_var_secinfo *var = btf_var_secinfos(section) + i;
		const struct btf_type *type = btf__type_by_id(btf, var->type);

		if (strcmp(btf__name_by_offset(btf, type->name_off), name))
			continue;
		if (var->size != sizeof(value) || var->offset + sizeof(value) > size)
			break;
		memcpy(bytes + var->offset, &value, sizeof(value));
		return 0;
	}
	return -ENOENT;
}

#endif
