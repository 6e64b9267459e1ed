/*
 * lint_rules.h
 *	  Lint: which rules can never do anything, proven.  For engine/lint*.c,
 *	  and for replay/diff*.c.
 */
#ifndef POLICY_LINT_RULES_H
#define POLICY_LINT_RULES_H

#include "engine/compile.h"
#include "engine/witness.h"

/* A rule, and what is known of it. */
typedef struct LintRule
{
	const PolicyRule *rule;
	PolicyShape *shape;
	PolicyShape **exceptions;	/* NULL for those that have expired */
	int			index;			/* in document order */
	TimestampTz begins;			/* the first time looked at when it is valid */
	bool		live;			/* enabled, and valid at such a time */
} LintRule;

typedef struct RuleLint
{
	const Policy *policy;
	TimestampTz now;
	PolicyDiagnostics *diags;
	LintRule   *rules;
	PolicyShapes *shapes;
	CompiledPolicy *plain;		/* the live rules' conditions and nothing else */
	LintRule  **plain_rules;	/* by position in it */
	int64	   *covering;		/* by index: twice the rule that it was last
								 * compared with, plus 1 if it covers that */
	CompiledPolicy *whole;		/* the policy; made for the first proof */
	MemoryContext context;
	PolicyWork	work;
} RuleLint;

/* How sure one rule is to count wherever another does. */
typedef enum LintCover
{
	LINT_COUNTS,				/* it counts in the verdict */
	LINT_CERTAIN				/* and it certainly applies */
} LintCover;

/* The warnings; in the current memory context. */
extern void policy_lint_rules(const Policy *policy, TimestampTz now,
							  PolicyDiagnostics *diags);

/* lint_compare.c */

/*
 * Whether wherever a rule counts, from now on, over does as surely as asked.  Of
 * lint, its work alone is used.
 */
extern bool lint_covers(RuleLint *lint, const LintRule *over, const LintRule *rule,
						LintCover cover);

/* Whether two rules apply to the same jobs at the same times, and say the same. */
extern bool lint_same(RuleLint *lint, const LintRule *first, const LintRule *second);

/* lint_proof.c */

/* What an example shows. */
typedef struct LintProof
{
	const char *job;			/* JSON, cut for a line; NULL: none at hand */
	PolicyDecision decision;
	const char *winner;			/* a rule's id, or NULL */
} LintProof;

/*
 * Looks for a job that rule and, where it is given, other both apply to, and asks
 * the evaluator.  Returns false where it says that the rule wins: what the proof
 * was for is then not so.
 */
extern bool lint_prove(RuleLint *lint, const LintRule *rule, const LintRule *other,
					   LintProof *proof);

#endif							/* POLICY_LINT_RULES_H */
