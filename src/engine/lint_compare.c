/*
 * lint_compare.c
 *	  Lint: what two rules have to do with each other.
 *
 * Jobs inside of one match and outside of another either exist or provably do not
 * (engine/witness.h), whatever a `when` says; a `when` itself is the same where it
 * is written alike, and any other is taken to be able to say anything.
 */
#include "postgres.h"

#include "engine/lint_rules.h"

static bool
permits(const LintRule *rule)
{
	return rule->rule->decision <= POLICY_ALLOW_WITH_CONSTRAINTS;
}

/* Whether two matches ask the same `when`, or none. */
static bool
same_when(const PolicyMatch *a, const PolicyMatch *b)
{
	if (a->when == NULL || b->when == NULL)
		return a->when == b->when;
	return strcmp(a->when, b->when) == 0;
}

/* Whether no job is inside of a and outside of b; `when`s left aside. */
static bool
is_inside(RuleLint *lint, const PolicyShape *a, const PolicyShape *b)
{
	return policy_find_job(&a, 1, &b, 1, &lint->work, NULL) == POLICY_IMPOSSIBLE;
}

/* The same of two rules; of lint's own, what was asked last is kept. */
static bool
match_is_inside(RuleLint *lint, const LintRule *rule, const LintRule *over)
{
	bool		inside;

	if (lint->covering != NULL && lint->covering[over->index] >> 1 == rule->index)
		return lint->covering[over->index] & 1;
	inside = is_inside(lint, rule->shape, over->shape);
	if (lint->covering != NULL)
		lint->covering[over->index] = 2 * (int64) rule->index + inside;
	return inside;
}

/*
 * Whether an exception of over leaves over counting, or certain, wherever rule
 * counts: no job is inside of both the rule and the exception but where an
 * exception of the rule's own holds whenever that one does.
 */
static bool
exception_spares(RuleLint *lint, const LintRule *over, int exception, const LintRule *rule,
				 LintCover cover)
{
	const PolicyException *theirs = &over->rule->exceptions[exception];
	const PolicyShape *inside[] = {rule->shape, over->exceptions[exception]};
	const PolicyShape **own = palloc(sizeof(PolicyShape *) * Max(rule->rule->nexceptions, 1));
	TimestampTz until = Min(theirs->expires_at, rule->rule->expires_at);
	int			nown = 0;
	PolicyExample *example;

	for (int i = 0; i < rule->rule->nexceptions; i++)
	{
		const PolicyException *mine = &rule->rule->exceptions[i];

		if (rule->exceptions[i] != NULL && mine->expires_at >= until &&
			(mine->match.when == NULL ||
			 (cover == LINT_COUNTS && same_when(&mine->match, &theirs->match))))
			own[nown++] = rule->exceptions[i];
	}
	return policy_find_job(inside, 2, own, nown, &lint->work, &example) == POLICY_IMPOSSIBLE;
}

static bool
exceptions_spare(RuleLint *lint, const LintRule *over, const LintRule *rule, LintCover cover)
{
	for (int i = 0; i < over->rule->nexceptions; i++)
	{
		if (over->exceptions[i] != NULL &&
			over->rule->exceptions[i].expires_at > rule->begins &&
			!exception_spares(lint, over, i, rule, cover))
			return false;
	}
	return true;
}

/*
 * A `when` is no matter where both ask the same, and rule counts only where it is
 * true or over counts where it is unknown, too.
 */
static bool
when_covers(const LintRule *over, const LintRule *rule, LintCover cover)
{
	if (over->rule->match.when == NULL)
		return true;
	if (!same_when(&over->rule->match, &rule->rule->match))
		return false;
	return permits(rule) || (cover == LINT_COUNTS && !permits(over));
}

bool
lint_covers(RuleLint *lint, const LintRule *over, const LintRule *rule, LintCover cover)
{
	/* What is unknown of a permitting rule leaves it out. */
	if (cover == LINT_COUNTS && permits(over) && !permits(rule))
		return false;
	return over->rule->velocity == NULL &&
		over->begins <= rule->begins &&
		over->rule->expires_at >= rule->rule->expires_at &&
		when_covers(over, rule, cover) &&
		match_is_inside(lint, rule, over) &&
		exceptions_spare(lint, over, rule, cover);
}

static bool
same_paths(const PolicyPathList *a, const PolicyPathList *b)
{
	if (a->count != b->count)
		return false;
	for (int i = 0; i < a->count; i++)
	{
		if (strcmp(a->items[i].source, b->items[i].source) != 0)
			return false;
	}
	return true;
}

static bool
same_approval(const PolicyApproval *a, const PolicyApproval *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->napprovers != b->napprovers || a->min_approvals != b->min_approvals ||
		a->expires_in_sec != b->expires_in_sec || a->allow_self != b->allow_self)
		return false;
	for (int i = 0; i < a->napprovers; i++)
	{
		if (strcmp(a->approvers[i], b->approvers[i]) != 0)
			return false;
	}
	return same_paths(&a->immaterial, &b->immaterial);
}

static const PolicyConstraint *
constraints_of(const PolicyRule *rule)
{
	return rule->constraints == NULL || rule->decision == POLICY_DENY ?
		constraint_empty() : constraint_from_node(rule->constraints, NULL);
}

/* Whether two rules say the same of a job that they apply to. */
static bool
same_effect(const PolicyRule *a, const PolicyRule *b)
{
	return a->decision == b->decision && a->monitor == b->monitor &&
		a->velocity == NULL && b->velocity == NULL &&
		a->nremediations == 0 && b->nremediations == 0 &&
		(a->decision != POLICY_THROTTLE || a->retry_after_sec == b->retry_after_sec) &&
		same_approval(a->approval, b->approval);
}

static bool
same_match(RuleLint *lint, const PolicyMatch *a, const PolicyShape *a_shape,
		   const PolicyMatch *b, const PolicyShape *b_shape)
{
	return same_when(a, b) && is_inside(lint, a_shape, b_shape) &&
		is_inside(lint, b_shape, a_shape);
}

/* Exceptions are compared in their order. */
static bool
same_exceptions(RuleLint *lint, const LintRule *a, const LintRule *b)
{
	if (a->rule->nexceptions != b->rule->nexceptions)
		return false;
	for (int i = 0; i < a->rule->nexceptions; i++)
	{
		const PolicyException *left = &a->rule->exceptions[i];
		const PolicyException *right = &b->rule->exceptions[i];

		if (a->exceptions[i] == NULL && b->exceptions[i] == NULL)
			continue;
		if (left->expires_at != right->expires_at ||
			!same_match(lint, &left->match, a->exceptions[i], &right->match, b->exceptions[i]))
			return false;
	}
	return true;
}

bool
lint_same(RuleLint *lint, const LintRule *first, const LintRule *second)
{
	const PolicyRule *a = first->rule;
	const PolicyRule *b = second->rule;

	return same_effect(a, b) && first->begins == second->begins &&
		a->expires_at == b->expires_at &&
		same_when(&a->match, &b->match) &&
		match_is_inside(lint, second, first) &&
		is_inside(lint, first->shape, second->shape) &&
		same_exceptions(lint, first, second) &&
		constraint_equal(constraints_of(a), constraints_of(b));
}
