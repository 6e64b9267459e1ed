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

/* A tree that is being read; its bytes stay the caller's. */
typedef struct PolicyTree
{
	const char *next;
	const char *end;
} PolicyTree;

/*
 * Reads all but the rules: policy->rules is NULL, policy->nrules says how many
 * policy_tree_next_rule() gives, in document order, each once.  Strings point into the
 * bytes; the rest is in the current memory context.  Raises data_corrupted for
 * bytes that end early.
 */
extern void policy_tree_open(PolicyTree *tree, const char *bytes, int len, Policy *policy);
extern void policy_tree_next_rule(PolicyTree *tree, PolicyRule *rule);

#endif							/* POLICY_TREE_H */
