/*
 * match.h
 *	  Which rules apply to a job at a time.
 */
#ifndef POLICY_MATCH_H
#define POLICY_MATCH_H

#include "engine/compile.h"
#include "engine/job.h"

/*
 * How sure it is that a rule applies.  UNCERTAIN: it restricts, and something
 * that was unknown was taken for the stricter.  MAYBE: it permits, and one of
 * its exceptions is unknown; which way is stricter depends on the other rules.
 */
typedef enum PolicyStanding
{
	POLICY_APPLIES_NOT,
	POLICY_APPLIES_MAYBE,
	POLICY_APPLIES_UNCERTAIN,
	POLICY_APPLIES
} PolicyStanding;

typedef struct ApplyingRule
{
	const CompiledRule *rule;
	PolicyStanding standing;
	uint8		brief;			/* the rule's, of CompiledPolicy.briefs */
} ApplyingRule;

/* Those that apply, in document order. */
typedef struct ApplyingRules
{
	ApplyingRule *items;
	int			count;
	int			capacity;
} ApplyingRules;

/*
 * Finds the enforcing and the monitoring rules that apply to a valid job, in
 * the current memory context.  Under first_match the enforcing ones end with
 * the first that certainly applies.  Stops early where the budget runs out:
 * the result means nothing then.
 */
extern void policy_match(const CompiledPolicy *policy, Job *job,
						 TimestampTz at, PolicyBudget *budget,
						 ApplyingRules *enforcing, ApplyingRules *monitoring);

#endif							/* POLICY_MATCH_H */
