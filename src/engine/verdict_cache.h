/*
 * verdict_cache.h
 *	  Verdicts of many rules, kept by what they follow from.
 *
 * A verdict follows from which rules apply, and how surely.  Most of many are
 * certain to once the index has met the run of rules that they are in
 * (RULE_CERTAIN): so the policy, these runs, and those open rules that apply are the
 * key, compared in full.  Nothing else of a job, nor the time, can change the verdict.
 */
#ifndef POLICY_VERDICT_CACHE_H
#define POLICY_VERDICT_CACHE_H

#include "engine/evaluate.h"
#include "engine/rule_index.h"

/* Verdicts that a session keeps at most; 0: none. */
extern int	policy_decision_cache_size;

/* A verdict of fewer certain rules is made as fast as it is found. */
#define VERDICT_CACHE_FEW 16

typedef struct VerdictKey
{
	uint64	   *words;
	int			nwords;
	uint64		hash;
} VerdictKey;

/* A verdict that is kept. */
typedef struct VerdictParts
{
	PolicyVerdict verdict;
	struct varlena *rule_ids;	/* of those that matched, a text[]; NULL: not
								 * made yet */
	uint64		generation;		/* the cache's own */
} VerdictParts;

/* The key of what a job has met, with the open rules that apply. */
extern void verdict_key_make(VerdictKey *key, const CompiledPolicy *policy,
							 const FoundRules *found, const ApplyingRules *open);

/*
 * Copies the verdict that is kept into the current memory context; false where none
 * is.
 */
extern bool verdict_cache_find(const VerdictKey *key, PolicyVerdict *verdict);

/* Keeps a verdict, from the second time on that its key is met. */
extern void verdict_cache_enter(const VerdictKey *key, PolicyVerdict *verdict);

/* The ids that are kept of the rules that matched; NULL where there are none. */
extern struct varlena *verdict_cache_ids(const PolicyVerdict *verdict);

/* Keeps a copy of them, where the verdict is kept. */
extern void verdict_cache_add_ids(const PolicyVerdict *verdict, const struct varlena *rule_ids);

#endif							/* POLICY_VERDICT_CACHE_H */
