/*
 * rule_index.h
 *	  Which rules a job can match, without trying them all.
 *
 * Every rule is filed under one of its conditions, the one that is rarest among
 * the policy's rules: under each value or literal prefix that can make that
 * condition hold.  A job looks up the values that it has; what it finds is every
 * rule that can match, and few that do not.  A rule with no condition that needs
 * a value to be there (none lists, `when` or nothing at all) is always found.
 *
 * Values and prefixes are found by hash: a value is hashed from its beginning, and
 * looked up at every length that some prefix of its dimension has.
 *
 * Where meeting a key means that the condition holds, the rule says so
 * (CompiledRule.proven), and it need not be tried again.
 */
#ifndef POLICY_RULE_INDEX_H
#define POLICY_RULE_INDEX_H

#include "engine/compile.h"
#include "engine/job.h"

/* Builds in the current memory context; sets each rule's `proven`. */
extern RuleIndex *rule_index_build(CompiledRule *rules, int nrules);

/*
 * The positions of the rules that the job can match, ascending, each once;
 * allocated in the current memory context.
 */
extern int *rule_index_find(const RuleIndex *index, const Job *job, int *count);

#endif							/* POLICY_RULE_INDEX_H */
