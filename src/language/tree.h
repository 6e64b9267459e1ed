/*
 * tree.h
 *	  A checked policy as bytes, for a stored document to carry beside its source.
 *
 * What a decision needs, and no more: no marks, tests, owners or remediations, no
 * rule that is disabled.  Numbers and jsonpaths are text.  POLICY_TREE_VERSION is
 * raised with every change of what is written, or of what a source means.
 */
#ifndef POLICY_TREE_H
#define POLICY_TREE_H

#include "lib/stringinfo.h"

#include "language/policy.h"

#define POLICY_TREE_VERSION 1

/*
 * Writes a policy at the end of *out.  Returns false, with *out as it was, where
 * that would take more than limit bytes: aliases can make a tree far larger than
 * its source.
 */
extern bool policy_tree_write(const Policy *policy, int limit, StringInfo out);

/* A mapping that was passed over: most rules' constraints are never asked for. */
typedef struct PolicyTreeMapping
{
	const char *bytes;
	int			len;
	int			count;			/* of its pairs; 0: there are no bytes */
} PolicyTreeMapping;

/* A tree that is being read; its bytes stay the caller's. */
typedef struct PolicyTree
{
	const char *next;
	const char *end;
	PolicyTreeMapping constraints;	/* of the last rule, which has NULL */
	Size		used;			/* of the room, which most rules fit in */
	union
	{
		char		bytes[4096];
		int64		aligned;
	}			room;
} PolicyTree;

/*
 * Reads all but the rules: policy->rules is NULL, policy->nrules says how many
 * policy_tree_next_rule() gives, in document order, each once.  Strings point into the
 * bytes; the rest is in the current memory context, but for a rule's, of which a part is
 * in *tree and goes when the next is asked for.  Raises data_corrupted for bytes that
 * end early.
 */
extern void policy_tree_open(PolicyTree *tree, const char *bytes, int len, Policy *policy);
extern void policy_tree_next_rule(PolicyTree *tree, PolicyRule *rule);

/* Reads what was passed over, in the current memory context. */
extern PolicyNode *policy_tree_node(const char *bytes, int len);

#endif							/* POLICY_TREE_H */
