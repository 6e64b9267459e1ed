/*
 * conditions.h
 *	  Whether one condition of a rule holds for a job, and what follows from all.
 *
 * Inline, so that whoever decides (match.c) and whoever explains (walk.c) run the
 * same lines, and the first of them pays nothing for the second.
 */
#ifndef POLICY_CONDITIONS_H
#define POLICY_CONDITIONS_H

#include "engine/match.h"
#include "engine/nulls.h"

static inline bool
glob_matches(const Glob *glob, const JobString *value, PolicyBudget *budget)
{
	return policy_budget_spend(budget, 1 + value->len / 64) &&
		glob_match(glob, value->data, value->len);
}

static inline bool
any_value_matches(const Glob *glob, const JobString *values, int nvalues, PolicyBudget *budget)
{
	for (int i = 0; i < nvalues; i++)
	{
		if (glob_matches(glob, &values[i], budget))
			return true;
	}
	return false;
}

/* Whether one of the list's patterns matches one of the values. */
static inline bool
any_glob_matches(const Glob *globs, int count, const JobString *values, int nvalues,
				 PolicyBudget *budget)
{
	for (int i = 0; i < count; i++)
	{
		if (any_value_matches(&globs[i], values, nvalues, budget))
			return true;
	}
	return false;
}

static inline bool
lists_hold(const GlobLists *lists, const JobString *values, int nvalues, PolicyBudget *budget)
{
	const Glob *all = lists->globs + lists->nany;
	const Glob *none = all + lists->nall;

	if (lists->nany > 0 && !any_glob_matches(lists->globs, lists->nany, values, nvalues, budget))
		return false;
	for (int i = 0; i < lists->nall; i++)
	{
		if (!any_value_matches(&all[i], values, nvalues, budget))
			return false;
	}
	return !any_glob_matches(none, lists->nnone, values, nvalues, budget);
}

/* What a job has in the field of a condition. */
static inline const JobString *
condition_values(const CompiledCondition *condition, const Job *job, int *count)
{
	const JobString *value;

	if (condition->field >= POLICY_FIRST_SET)
	{
		const JobSet *set = &job->sets[condition->field - POLICY_FIRST_SET];

		*count = set->count;
		return set->items;
	}
	value = &job->fields[condition->field];
	*count = value->data != NULL ? 1 : 0;
	return value;
}

static inline bool
condition_holds(const CompiledCondition *condition, const Job *job, PolicyBudget *budget)
{
	int			nvalues;
	const JobString *values = condition_values(condition, job, &nvalues);

	return lists_hold(&condition->lists, values, nvalues, budget);
}

static inline bool
label_holds(const CompiledLabel *label, const Job *job, PolicyBudget *budget)
{
	const JobString *value = policy_job_label(job, label->name, label->len);

	if (label->present)
		return value != NULL;
	return lists_hold(&label->lists, value, value != NULL ? 1 : 0, budget);
}

/*
 * What a null changes is unknown, but where the predicate looks for null itself.
 * PostgreSQL calls null > 1000 false, and so a null would slip past what an
 * absent field or a string does not.
 */
static inline PolicyTruth
when_holds(const CompiledMatch *match, Job *job)
{
	PolicyTruth truth = policy_predicate_test(match->when, job->source);
	Jsonb	   *comparable = policy_job_comparable(job);

	if (match->lax || comparable == job->source)
		return truth;
	if (match->null_places != NULL)
		comparable = policy_without_nulls(job->source, match->null_places);
	return policy_predicate_test(match->when, comparable) == truth ? truth : POLICY_UNKNOWN;
}

/* proven: the condition that is known to hold, or -1. */
static inline PolicyTruth
match_holds(const CompiledMatch *match, int proven, Job *job, PolicyBudget *budget)
{
	if (match->has_secrets_present && match->secrets_present != job->secrets_present)
		return POLICY_FALSE;
	for (int i = 0; i < match->nconditions; i++)
	{
		if (i != proven && !condition_holds(&match->conditions[i], job, budget))
			return POLICY_FALSE;
	}
	for (int i = 0; i < match->nlabels; i++)
	{
		if (!label_holds(&match->labels[i], job, budget))
			return POLICY_FALSE;
	}
	if (!match->has_when)
		return POLICY_TRUE;
	if (!policy_budget_spend(budget, POLICY_BUDGET_INTERVAL / 8))
		return POLICY_FALSE;
	return when_holds(match, job);
}

/*
 * How sure it is that a rule applies, of what is known of its match, which is not
 * FALSE, and of its exceptions; but for its times and its velocity.
 */
static inline PolicyStanding
standing_of(const CompiledRule *rule, PolicyTruth holds, PolicyTruth exception)
{
	if (exception == POLICY_TRUE)
		return POLICY_APPLIES_NOT;
	if (rule->decision < POLICY_THROTTLE)
	{
		if (holds == POLICY_UNKNOWN)
			return POLICY_APPLIES_NOT;
		return exception == POLICY_UNKNOWN ? POLICY_APPLIES_MAYBE : POLICY_APPLIES;
	}
	return holds == POLICY_UNKNOWN || exception == POLICY_UNKNOWN ?
		POLICY_APPLIES_UNCERTAIN : POLICY_APPLIES;
}

/* The same with its velocity, which it has. */
static inline PolicyStanding
standing_with_rate(const CompiledRule *rule, PolicyStanding standing, PolicyRateState state)
{
	if (state == POLICY_RATE_EXCEEDED)
		return standing;
	if (state == POLICY_RATE_ADMITS || rule->decision < POLICY_THROTTLE)
		return POLICY_APPLIES_NOT;
	return POLICY_APPLIES_UNCERTAIN;
}

#endif							/* POLICY_CONDITIONS_H */
