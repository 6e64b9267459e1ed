/*
 * evaluate.h
 *	  From a compiled policy, a job and a time to a verdict.
 */
#ifndef POLICY_EVALUATE_H
#define POLICY_EVALUATE_H

#include "engine/compile.h"
#include "engine/job.h"
#include "engine/match.h"

/*
 * What a job has satisfied already: a rule (NULL: the default) that it holds the
 * approval of, or whose wait is over, counts as `allow`, keeping its place and
 * its constraints.  Asked about rules that throttle or ask for approval alone.
 */
typedef struct PolicySatisfied
{
	bool		(*holds) (struct PolicySatisfied *satisfied, const CompiledRule *rule);
} PolicySatisfied;

/*
 * A verdict, its parts borrowed from the policy or allocated in the memory
 * context that was current.
 */
typedef struct PolicyVerdict
{
	PolicyDecision decision;
	text	   *reason;
	Jsonb	   *constraints;	/* {} for DENY */
	const CompiledRule *winner; /* NULL: the default, or an invalid job */
	const CompiledRule **matched;	/* in document order */
	int			nmatched;
	const CompiledRule **monitored;
	int			nmonitored;
	bool		default_counts; /* the default is among those that applied */
	int			retry_after_sec;	/* THROTTLE alone, else 0 */
	struct VerdictParts *parts; /* kept of the same rules, or NULL; good while */
	uint64		parts_epoch;	/* this is verdict_cache_epoch() */
} PolicyVerdict;

/* Whether a verdict's constraints are the policy's own, and last as long. */
extern bool policy_lends_constraints(const CompiledPolicy *policy, const PolicyVerdict *verdict);

/*
 * Decides.  Raises nothing for what the job holds: an invalid job is DENY.
 * satisfied may be NULL, and so may rates: then every velocity is unknown.  Returns
 * false, with *verdict unset, where the budget ran out.
 */
extern bool policy_decide(const CompiledPolicy *policy, Job *job,
						  TimestampTz at, PolicySatisfied *satisfied, PolicyRates *rates,
						  PolicyBudget *budget, PolicyVerdict *verdict);

/*
 * Decides for who has found the rules that apply as policy_match() would: those of
 * first_match end with the first that certainly applies.
 */
extern void policy_decide_among(const CompiledPolicy *policy, const ApplyingRules *enforcing,
								const ApplyingRules *monitoring, PolicyVerdict *verdict);

/*
 * A verdict that no rule gave: DENY, or ALLOW within the built-in default
 * constraints.
 */
extern void policy_verdict_without_rule(PolicyDecision decision, const char *reason,
										PolicyVerdict *verdict);

/* DENY, for a job that is invalid: under any policy, and under none. */
extern void policy_verdict_of_invalid(const Job *job, PolicyVerdict *verdict);

#endif							/* POLICY_EVALUATE_H */
