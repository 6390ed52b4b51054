/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Client sockets between connect and close, by their address: an identity that is not followed. Only included by
 * ports.bpf.c.
 *
 *	address ── hash ─▸ bucket of SOCKETS_WAYS places ── all taken ─▸ hash map of the kernel
 *
 * Most events are of sockets that are not in here, a server's, and the others come and go with each connection. The
 * kernel's hash alone took a third of ebb's time: a lock and an allocator twice a connection, and a call each time.
 * Here nothing is allocated, and one look into a bucket says no. What finds no place in its bucket goes into the hash;
 * the bucket knows how many did, so that nobody looks there in vain.
 *
 * Socket storage would need no entry to be deleted, but costs two allocations charged to a cgroup: with it a
 * connection took 1.2 us more.
 *
 * Changes of one socket do not meet each other: the socket's lock is held. A place is taken and given back by one
 * exchange, so that sockets of one bucket do not meet either.
 */
#ifndef EBB_PORTS_SOCKETS_BPF_H
#define EBB_PORTS_SOCKETS_BPF_H

#define SOCKETS_WAYS	4
#define SOCKETS_BITS	14	/* log2 of the buckets: 65,536 places, 2.75 MiB */
#define SOCKETS_BUSY	1ull	/* no socket's address: the place is being filled */

struct sockets_bucket {
	__u64 ids[SOCKETS_WAYS];	/* 0 = free */
	__u64 spilled_cnt;		/* of this bucket in the hash */
	struct ports_socket sockets[SOCKETS_WAYS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << SOCKETS_BITS);
	__type(key, __u32);
	__type(value, struct sockets_bucket);
} ports_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct ports_socket);
} ports_sockets SEC(".maps");

/* For the verifier (6.18) id is a pointer: there is no arithmetic with it but with a copy of its lower half. */
static __always_inline struct sockets_bucket *sockets_bucket(__u64 id)
{
	__u32 key;

	__asm__ volatile("%0 = %1" : "=w"(key) : "w"((__u32)id));
	key = (key * 0x9e3779b1u) >> (32 - SOCKETS_BITS);
	return bpf_map_lookup_elem(&ports_buckets, &key);
}

static __always_inline struct ports_socket *socket_find(__u64 id)
{
	struct sockets_bucket *bucket = sockets_bucket(id);

	if (!bucket)
		return NULL;
	for (int i = 0; i < SOCKETS_WAYS; i++)
		if (*(volatile __u64 *)&bucket->ids[i] == id)
			return &bucket->sockets[i];
	return bucket->spilled_cnt ? bpf_map_lookup_elem(&ports_sockets, &id) : NULL;
}

/* One that is not in there. False when there is no room. */
static __always_inline bool socket_add(__u64 id, const struct ports_socket *s)
{
	struct sockets_bucket *bucket = sockets_bucket(id);

	if (!bucket)
		return false;
	for (int i = 0; i < SOCKETS_WAYS; i++) {
		if (bucket->ids[i] || __sync_val_compare_and_swap(&bucket->ids[i], 0, SOCKETS_BUSY))
			continue;
		bucket->sockets[i] = *s;
		__sync_val_compare_and_swap(&bucket->ids[i], SOCKETS_BUSY, id);
		return true;
	}
	__sync_fetch_and_add(&bucket->spilled_cnt, 1);
	if (!bpf_map_update_elem(&ports_sockets, &id, s, BPF_NOEXIST))
		return true;
	__sync_fetch_and_add(&bucket->spilled_cnt, -1);
	return false;
}

/* Whether it was there. */
static __always_inline bool socket_remove(__u64 id)
{
	struct sockets_bucket *bucket = sockets_bucket(id);

	if (!bucket)
		return false;
	for (int i = 0; i < SOCKETS_WAYS; i++)
		if (bucket->ids[i] == id)
			return __sync_val_compare_and_swap(&bucket->ids[i], id, 0) == id;
	if (!bucket->spilled_cnt || bpf_map_delete_elem(&ports_sockets, &id))
		return false;
	__sync_fetch_and_add(&bucket->spilled_cnt, -1);
	return true;
}

#endif
