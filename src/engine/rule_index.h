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
#include "engine/key_table.h"

/*
 * An index of rules, in the current memory context, where it stays.  It is built once
 * it is asked, and sets each rule's `proven` and its brief's RULE_CERTAIN then.
 */
extern RuleIndex *rule_index_make(CompiledRule *rules, uint8 *briefs, int nrules);

/*
 * Rules that a look-up has met together, ascending but for this: those come first
 * that are open, which may not apply; the others do.
 */
typedef struct RuleRun
{
	const int  *rules;
	int			count;
	int			open;
} RuleRun;

#define FEW_RUNS 16
#define FEW_KEYS 16

/*
 * What a job meets.  Keys that have passed the table's filter wait until a few are
 * together: their slots, and then the rules that they lead to, are on their way from
 * memory meanwhile.
 */
typedef struct FoundRules
{
	const RuleIndex *index;
	RuleKey		keys[FEW_KEYS];
	int			nkeys;
	RuleRun    *runs;			/* one rule may be in several */
	int			nruns;
	int			capacity;
	int			total;			/* rules in the runs */
	int			open;			/* of these, open ones */
	bool		every;			/* all rules, and no runs */
	RuleRun		few[FEW_RUNS];
} FoundRules;

/* Finds what the job can match; may allocate in the current memory context. */
extern void rule_index_meet(RuleIndex *index, const Job *job, FoundRules *found);

/*
 * The same, but that the first job of all is given every rule, each open: trying them
 * costs less than building does, and a session may decide once only.  What is found
 * must be read before anything else is met.
 */
extern void rule_index_meet_sparing(RuleIndex *index, const Job *job, FoundRules *found);

/*
 * The positions of the rules that were met, ascending, each once; allocated in the
 * current memory context.
 */
extern int *rule_index_all(const FoundRules *found, int *count);

/* The same of those that are open. */
extern int *rule_index_open(const FoundRules *found, int *count);

#endif							/* POLICY_RULE_INDEX_H */
