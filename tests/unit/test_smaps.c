/* SPDX-License-Identifier: GPL-2.0-only */
/* smaps as text: pieces of any length, kernels that lack lines, hostile names; and what is summed up from it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "target/footprint.h"
#include "target/maps.h"
#include "target/smaps.h"
#include "test.h"

static const char full[] =
	"00400000-00452000 r-xp 00000000 fe:00 7                  /srv/a\\012b (deleted)\n"
	"Size:                328 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n"
	"Rss:                 300 kB\nPss:                  75 kB\nPss_Dirty:             0 kB\n"
	"Shared_Clean:        300 kB\nShared_Dirty:          0 kB\nPrivate_Clean:         0 kB\nPrivate_Dirty:         0 kB\n"
	"Referenced:          300 kB\nAnonymous:             0 kB\nKSM:                   0 kB\nLazyFree:              0 kB\n"
	"AnonHugePages:         0 kB\nShmemPmdMapped:        0 kB\nFilePmdMapped:         0 kB\n"
	"Shared_Hugetlb:        0 kB\nPrivate_Hugetlb:       0 kB\nSwap:                  0 kB\nSwapPss:               0 kB\n"
	"Locked:                0 kB\nTHPeligible:           0\nProtectionKey:         0\nVmFlags: rd ex mr mw me\n"
	"01000000-01400000 rw-p 00000000 00:00 0                  [heap]\n"
	"Rss:                4096 kB\nPss:                4096 kB\nPrivate_Clean:         4 kB\nPrivate_Dirty:      4092 kB\n"
	"AnonHugePages:      2048 kB\nSwap:                 64 kB\nSwapPss:              64 kB\nVmFlags: rd wr mr mw me ac\n"
	"7f0000000000-7f0000200000 rw-s 00000000 00:0f 9          /anon_hugepage (deleted)\n"
	"Rss:                   0 kB\nPss:                   0 kB\nShared_Hugetlb:     1024 kB\nPrivate_Hugetlb:    2048 kB\n"
	"VmFlags: rd wr sh mr mw me ht\n"
	"7f0000400000-7f0000600000 rw-p 00000000 00:00 0 \n"
	"Rss:                   8 kB\nPss:                   8 kB\nPrivate_Dirty:         8 kB\nVmFlags: rd wr nr\n";

static int feed(struct smaps *s, const char *text, size_t piece)
{
	size_t len = strlen(text);
	int err = 0;

	for (size_t at = 0; at < len && !err; at += piece)
		err = smaps_feed(s, text + at, len - at < piece ? len - at : piece);
	return err ? err : smaps_end(s);
}

static void check_full(const struct smaps *s)
{
	if (!CHECK_EQ(s->cnt, 4))
		return;
	CHECK_STR(s->maps[0].path, "/srv/a\nb (deleted)");
	CHECK_EQ(s->values[0].rss_bytes, 300 << 10);
	CHECK_EQ(s->values[0].pss_bytes, 75 << 10);
	CHECK_EQ(s->values[0].own_bytes, 0);
	CHECK_STR(s->maps[1].path, "[heap]");
	CHECK_EQ(s->values[1].own_bytes, 4096 << 10);
	CHECK_EQ(s->values[1].huge_bytes, 2048 << 10);
	CHECK_EQ(s->values[1].swap_bytes, 64 << 10);
	CHECK_EQ(s->values[2].hugetlb_bytes, 3072 << 10);
	CHECK_STR(s->maps[3].path, "");
	CHECK_EQ(s->flags[3], REGION_FLAG_KNOWN | REGION_FLAG_NORESERVE);
	CHECK_EQ(s->lines, SMAPS_PSS | SMAPS_SWAP | SMAPS_HUGE | SMAPS_FLAGS);
	CHECK_EQ(s->moved_cnt, 0);
}

TEST(pieces)
{
	static const size_t pieces[] = { 1, 2, 7, 64, 4096, sizeof(full) };

	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		struct smaps s = { 0 };

		CHECK_EQ(feed(&s, full, pieces[i]), 0);
		check_full(&s);
		smaps_free(&s);
	}
}

/* As Linux 2.6.25 had them. */
TEST(old_kernel)
{
	struct smaps s = { 0 };

	CHECK_EQ(feed(&s, "00400000-00401000 r-xp 00000000 fe:00 7 /a\nSize: 4 kB\nRss: 4 kB\nShared_Clean: 4 kB\n", 5), 0);
	CHECK_EQ(s.cnt, 1);
	CHECK_EQ(s.lines, 0);
	CHECK_EQ(s.values[0].rss_bytes, 4096);
	smaps_free(&s);
}

/* A mapping that grew between two pieces of the file comes twice. */
TEST(moved)
{
	struct smaps s = { 0 };

	CHECK_EQ(feed(&s, "1000-3000 rw-p 00000000 00:00 0 \nRss: 8 kB\n2000-5000 rw-p 00000000 00:00 0 \nRss: 12 kB\nVmFlags: nr\n"
			  "5000-6000 rw-p 00000000 00:00 0 \nRss: 4 kB\n", 3), 0);
	CHECK_EQ(s.cnt, 2);
	CHECK_EQ(s.moved_cnt, 1);
	CHECK_EQ(s.values[0].rss_bytes, 8 << 10);
	CHECK_EQ(s.values[1].rss_bytes, 4 << 10);
	CHECK_EQ(s.flags[0], 0);
	smaps_free(&s);
}

TEST(no_smaps)
{
	static const char *const texts[] = { "Rss: 4 kB\n", "hello\n", "1000-3000 rw\n", "\n", "1000-3000 rw-p 00000000 00:00 0 \n\n" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct smaps s = { 0 };

		CHECK_EQ(feed(&s, texts[i], 4), -EBADMSG);
		smaps_free(&s);
	}
}

TEST(empty)
{
	struct smaps s = { 0 };

	CHECK_EQ(feed(&s, "", 1), 0);
	CHECK_EQ(s.cnt, 0);
	smaps_free(&s);
}

TEST(sums)
{
	static const enum region_kind kinds[] = { REGION_CODE, REGION_HEAP, REGION_SHMEM, REGION_ANON };
	struct footprint f;
	struct smaps s = { 0 };
	uint64_t rss = 0, maps = 0;

	CHECK_EQ(feed(&s, full, 100), 0);
	if (!CHECK_EQ(footprint_sum(&s, kinds, &f), 0))
		return;
	for (int i = 0; i < REGION_KINDS; i++) {
		rss += f.parts[i].values.rss_bytes;
		maps += f.parts[i].maps_cnt;
	}
	CHECK_EQ(rss, f.total.values.rss_bytes);
	CHECK_EQ(rss, (300 + 4096 + 8) << 10);
	CHECK_EQ(maps, 4);
	CHECK_EQ(f.total.values.hugetlb_bytes, 3072 << 10);
	CHECK_EQ(f.parts[REGION_HEAP].values.swap_bytes, 64 << 10);
	/* one each, kinds in order */
	if (CHECK_EQ(f.mappings_cnt, 4)) {
		CHECK_STR(f.mappings[0].name, "[heap]");
		CHECK(f.mappings[1].name == NULL);
		CHECK_EQ(f.mappings[1].start, 0x7f0000400000);
		CHECK_STR(f.mappings[2].name, "/srv/a\nb (deleted)");
	}
	footprint_free(&f);
	smaps_free(&s);
}

TEST(names_together)
{
	static const enum region_kind kinds[] = { REGION_CODE, REGION_DATA, REGION_CODE, REGION_ANON, REGION_ANON, REGION_CODE };
	struct footprint f;
	struct smaps s = { 0 };

	CHECK_EQ(feed(&s, "1000-2000 r-xp 0 fe:00 7 /a\nRss: 4 kB\n2000-3000 rw-p 0 fe:00 7 /a\nRss: 4 kB\n3000-4000 r--p 0 fe:00 7 /a\nRss: 4 kB\n"
			  "5000-6000 rw-p 0 00:00 0 \nRss: 4 kB\n7000-9000 rw-p 0 00:00 0 \nRss: 8 kB\n9000-a000 r-xp 0 fe:00 8 /b\nRss: 0 kB\n", 9), 0);
	if (!CHECK_EQ(footprint_sum(&s, kinds, &f), 0))
		return;
	if (CHECK_EQ(f.mappings_cnt, 4)) {
		CHECK_EQ(f.mappings[0].start, 0x7000);	/* larger than its neighbour, which has no name either */
		CHECK_EQ(f.mappings[1].start, 0x5000);
		CHECK_STR(f.mappings[2].name, "/a");
		CHECK_EQ(f.mappings[2].maps_cnt, 2);
		CHECK_EQ(f.mappings[2].values.rss_bytes, 8 << 10);
		CHECK_EQ(f.mappings[3].kind, REGION_DATA);
	}
	footprint_free(&f);
	smaps_free(&s);
}

TEST(status)
{
	struct footprint_status st;

	CHECK(footprint_status_parse("Name:\tx\nVmHWM:\t 20 kB\nVmRSS:\t 12 kB\nRssAnon:\t 4 kB\nVmPTE:\t 40 kB\nThreads:\t7\n", &st));
	CHECK_EQ(st.rss_bytes, 12 << 10);
	CHECK_EQ(st.peak_bytes, 20 << 10);
	CHECK_EQ(st.page_table_bytes, 40 << 10);
	CHECK_EQ(st.swap_bytes, 0);
	CHECK_EQ(st.threads_cnt, 7);
	CHECK(!footprint_status_parse("Name:\tkthreadd\nThreads:\t1\n", &st));
}

/* Our own: the pages of a block are there, and all that is there has a kind. */
TEST(own)
{
	int proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct smaps s;
	uint64_t rss = 0;

	if (!CHECK_EQ(smaps_read(proc_fd, &s), 0))
		return;
	for (size_t i = 0; i < s.cnt; i++)
		rss += s.values[i].rss_bytes;
	CHECK(rss > 1 << 20);
	CHECK_EQ(s.lines & SMAPS_PSS, SMAPS_PSS);
	smaps_free(&s);
	close(proc_fd);
}

TEST_MAIN(TEST_CASE(pieces), TEST_CASE(old_kernel), TEST_CASE(moved), TEST_CASE(no_smaps), TEST_CASE(empty), TEST_CASE(sums),
	  TEST_CASE(names_together), TEST_CASE(status), TEST_CASE(own))
