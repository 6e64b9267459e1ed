/*
 * match.h
 *	  Which rules apply to a job at a time.
 */
#ifndef POLICY_MATCH_H
#define POLICY_MATCH_H

#include "engine/compile.h"
#include "engine/job.h"
#include "engine/rule_index.h"

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
	int32		wait;			/* seconds, of a velocity that is exceeded; 0:
								 * the rule's own */
} ApplyingRule;

/* Those that apply, in document order. */
typedef struct ApplyingRules
{
	ApplyingRule *items;
	int			count;
	int			capacity;
} ApplyingRules;

/* What a rate says of one more request. */
typedef enum PolicyRateState
{
	POLICY_RATE_UNKNOWN,
	POLICY_RATE_ADMITS,
	POLICY_RATE_EXCEEDED
} PolicyRateState;

/*
 * Who is asked about velocities: once for each rule with one whose match holds at
 * the time, in document order, unless an exception certainly holds or, under
 * first_match, an earlier rule has settled the verdict.  *wait is for EXCEEDED: in
 * how many seconds the rate will next admit a request, at least 1.
 */
typedef struct PolicyRates
{
	PolicyRateState (*ask) (struct PolicyRates *rates, const CompiledRule *rule,
							const Job *job, TimestampTz at, int *wait);
} PolicyRates;

/*
 * Whether a rule's velocity is asked about a job at a time: TRUE and UNKNOWN where
 * it is, UNKNOWN where something else of the rule is unknown.
 */
extern PolicyTruth policy_rule_asks_rate(const CompiledRule *rule, Job *job, TimestampTz at,
										 PolicyBudget *budget);

/* Whether a rule's conditions may hold, and so may one of its live exceptions. */
extern bool policy_rule_is_excepted(const CompiledRule *rule, Job *job, TimestampTz at,
									PolicyBudget *budget);

/*
 * Finds the enforcing and the monitoring rules that apply to a valid job, in
 * the current memory context.  Under first_match the enforcing ones end with
 * the first that certainly applies.  Stops early where the budget runs out:
 * the result means nothing then.  Without rates (NULL) every velocity is unknown.
 */
extern void policy_match(const CompiledPolicy *policy, Job *job,
						 TimestampTz at, PolicyRates *rates, PolicyBudget *budget,
						 ApplyingRules *enforcing, ApplyingRules *monitoring);

/* The same of what the job has met already. */
extern void policy_match_found(const CompiledPolicy *policy, const FoundRules *met, Job *job,
							   TimestampTz at, PolicyRates *rates, PolicyBudget *budget,
							   ApplyingRules *enforcing, ApplyingRules *monitoring);

/*
 * Finds those of the open rules that apply, enforcing and monitoring together, their
 * velocities left out; all others of the rules that were met do.
 */
extern void policy_match_open(const CompiledPolicy *policy, const FoundRules *met, Job *job,
							  TimestampTz at, PolicyBudget *budget, ApplyingRules *open);

#endif							/* POLICY_MATCH_H */
