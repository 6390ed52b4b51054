/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libiberty limits the depth of its recursion, not its work. A mangled name is a compressed one: it can
 * refer back to its parts, so that 100 bytes describe a name longer than memory. Therefore:
 *
 *  - names beyond NAME_MAX_BYTES stay as they are;
 *  - output goes through a callback that leaves with longjmp() at OUTPUT_MAX_BYTES: all that the printers
 *    hold then is on the stack (but a few bytes of a Rust identifier in punycode);
 *  - work without output is estimated beforehand: see cxx_is_cheap(), name_backtracks(), d_is_cheap().
 */
#include <errno.h>
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "symbol/demangle.h"

#define NAME_MAX_BYTES 4096
#define OUTPUT_MAX_BYTES 65536
/* Nodes of the expanded tree of a C++ name; the longest names of node, libstdc++ and libLLVM stay below 10,000. */
#define TREE_MAX_NODES 32768
/* The C++ printer keeps (template scopes x references to parameters) x 16 bytes x 4 on the stack: 1 MiB. */
#define SCOPES_MAX 16384
#define OPTIONS (DMGL_PARAMS | DMGL_ANSI)

struct output {
	struct text text;
	jmp_buf full;
};

static void output_add(const char *str, size_t len, void *opaque)
{
	struct output *out = opaque;

	if (out->text.len + len > OUTPUT_MAX_BYTES)
		longjmp(out->full, 1);
	/* Rust's empty identifiers come as NULL. */
	if (len)
		text_add_len(&out->text, str, len);
}

/* The parsed C++ name is a graph in one array, whose nodes share their children. */
struct tree {
	const struct demangle_component *nodes;
	size_t nodes_cnt;
	uint32_t *weights;	/* of the expanded tree below a node; 0 = not yet known */
	uint32_t templates_cnt, refs_cnt;
};

/* Which words of a node are children. The others are not even initialised. */
static void node_children(const struct demangle_component *node, bool *ret_left, bool *ret_right)
{
	*ret_left = *ret_right = false;
	switch (node->type) {
	case DEMANGLE_COMPONENT_NAME:
	case DEMANGLE_COMPONENT_SUB_STD:
	case DEMANGLE_COMPONENT_TEMPLATE_PARAM:
	case DEMANGLE_COMPONENT_FUNCTION_PARAM:
	case DEMANGLE_COMPONENT_BUILTIN_TYPE:
	case DEMANGLE_COMPONENT_EXTENDED_BUILTIN_TYPE:
	case DEMANGLE_COMPONENT_OPERATOR:
	case DEMANGLE_COMPONENT_CHARACTER:
	case DEMANGLE_COMPONENT_NUMBER:
	case DEMANGLE_COMPONENT_UNNAMED_TYPE:
		return;
	case DEMANGLE_COMPONENT_LAMBDA:
	case DEMANGLE_COMPONENT_DEFAULT_ARG:
	case DEMANGLE_COMPONENT_FIXED_TYPE:
		*ret_left = true;
		return;
	case DEMANGLE_COMPONENT_CTOR:
	case DEMANGLE_COMPONENT_DTOR:
	case DEMANGLE_COMPONENT_EXTENDED_OPERATOR:
		*ret_right = true;
		return;
	default:
		*ret_left = *ret_right = true;
	}
}

/*
 * A word that is no child, of a type that only a later libiberty knows, is read as one only when it
 * points into the array: the estimate may be wrong then, the access is not.
 */
static uint32_t tree_weigh(struct tree *tree, const struct demangle_component *node)
{
	uintptr_t off = (uintptr_t)node - (uintptr_t)tree->nodes;
	size_t i = off / sizeof(*node);
	uint64_t weight = 1;
	bool left, right;

	if (off % sizeof(*node) || i >= tree->nodes_cnt)
		return 0;
	if (tree->weights[i])
		return tree->weights[i];
	tree->weights[i] = TREE_MAX_NODES + 1;	/* what a cycle finds */
	tree->templates_cnt += node->type == DEMANGLE_COMPONENT_TEMPLATE;
	tree->refs_cnt += node->type == DEMANGLE_COMPONENT_REFERENCE ||
			  node->type == DEMANGLE_COMPONENT_RVALUE_REFERENCE;
	node_children(node, &left, &right);
	if (left)
		weight += tree_weigh(tree, node->u.s_binary.left);
	if (right)
		weight += tree_weigh(tree, node->u.s_binary.right);
	tree->weights[i] = weight < TREE_MAX_NODES + 1 ? weight : TREE_MAX_NODES + 1;
	return tree->weights[i];
}

/*
 * d_find_pack() walks the expanded tree without printing, so a graph that shares its nodes often costs
 * 2^depth; d_print_init() multiplies scopes and references into an array on the stack.
 */
static int cxx_is_cheap(const struct demangle_component *root, const void *mem, size_t name_len, bool *ret)
{
	/* libiberty allocates two nodes for a byte of the name. */
	struct tree tree = { .nodes = mem, .nodes_cnt = 2 * name_len };
	uint32_t weight;

	tree.weights = calloc(tree.nodes_cnt, sizeof(*tree.weights));
	if (!tree.weights)
		return -ENOMEM;
	weight = tree_weigh(&tree, root);
	/* 0: the root is not in the array, this libiberty is another one. */
	*ret = weight > 0 && weight <= TREE_MAX_NODES &&
	       (uint64_t)tree.templates_cnt * tree.refs_cnt <= SCOPES_MAX;
	free(tree.weights);
	return 0;
}

/*
 * In a conversion operator (cv) the parser tries a template parameter with arguments (T_I…) both ways,
 * nested ones 2^depth times.
 */
static bool name_backtracks(const char *name)
{
	size_t cnt = 0;

	if (!strstr(name, "cv"))
		return false;
	for (const char *p = name; (p = strchr(p, 'T')); ) {
		p++;
		p += strspn(p, "0123456789");
		cnt += p[0] == '_' && p[1] == 'I';
	}
	return cnt > 12;
}

/*
 * cplus_demangle_v3_components() does not know older compilers' form of names like std::is_signed<T>::value
 * (sr3std…), the one-step function does. It has no graph to estimate, but refuses names of more than 1024
 * bytes, and without packs of arguments (Dp, sp, sP, sZ) it does nothing that is not output.
 */
static int cxx_print_name(const char *name, struct output *out)
{
	if (strstr(name, "Dp") || strstr(name, "sp") || strstr(name, "sP") || strstr(name, "sZ"))
		return -ENOENT;
	if (setjmp(out->full))
		return -ENOENT;
	return cplus_demangle_v3_callback(name, OPTIONS, output_add, out) ? 0 : -ENOENT;
}

static int cxx_print_tree(struct demangle_component *root, struct output *out)
{
	if (setjmp(out->full))
		return -ENOENT;
	return cplus_demangle_print_callback(OPTIONS, root, output_add, out) ? 0 : -ENOENT;
}

static int cxx_demangle(const char *name, size_t len, struct output *out)
{
	struct demangle_component *root;
	void *mem = NULL;
	bool cheap;
	int err;

	if (name_backtracks(name))
		return -ENOENT;
	root = cplus_demangle_v3_components(name, OPTIONS, &mem);
	if (!root)
		return cxx_print_name(name, out);
	err = cxx_is_cheap(root, mem, len, &cheap);
	if (!err)
		err = cheap ? cxx_print_tree(root, out) : -ENOENT;
	free(mem);
	return err;
}

static int rust_demangle_into(const char *name, struct output *out)
{
	if (setjmp(out->full))
		return -ENOENT;
	return rust_demangle_callback(name, OPTIONS, output_add, out) ? 0 : -ENOENT;
}

/*
 * The D demangler has neither a callback nor a limit: back references (Q) expand like e^(n/e), old
 * symbol parameters (S and a length) are tried with each of their leading digits. Names with more than
 * a few of them stay mangled.
 */
static bool d_is_cheap(const char *name)
{
	size_t back_cnt = 0, symbol_cnt = 0;

	for (const char *p = name; *p; p++) {
		back_cnt += *p == 'Q';
		symbol_cnt += *p == 'S' && p[1] >= '0' && p[1] <= '9';
	}
	return back_cnt <= 32 && symbol_cnt <= 8;
}

static int d_demangle(const char *name, struct output *out)
{
	char *str;

	if (!d_is_cheap(name))
		return -ENOENT;
	str = dlang_demangle(name, OPTIONS);
	if (!str)
		return -ENOENT;
	text_add(&out->text, str);
	free(str);
	return 0;
}

int demangle_name(const char *name, char **ret_name)
{
	size_t len = strnlen(name, NAME_MAX_BYTES + 1);
	struct output out = { 0 };
	int err = -ENOENT;

	if (name[0] != '_' || len > NAME_MAX_BYTES)
		return -ENOENT;
	if (name[1] == 'R' || name[1] == 'Z')
		err = rust_demangle_into(name, &out);
	if (err == -ENOENT && name[1] == 'Z') {
		text_clear(&out.text);
		err = cxx_demangle(name, len, &out);
	}
	if (name[1] == 'D')
		err = d_demangle(name, &out);
	if (!err && out.text.failed)
		err = -ENOMEM;
	if (!err && !out.text.len)
		err = -ENOENT;
	if (err) {
		text_free(&out.text);
		return err;
	}
	*ret_name = out.text.str;
	return 0;
}
