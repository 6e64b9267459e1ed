/*
 * diff_direction.c
 *	  Whether a change alone can loosen verdicts, or tighten them.
 *
 * What is told is what is proven; all else can do both.  The order of verdicts is that
 * of policy_compare().  Three things make a change of one rule run against its own
 * sense, and are looked for:
 *
 * - The default speaks where no rule certainly applies: a rule that comes to apply
 *   can thus take the place of a stricter default, unless another rule certainly applies
 *   wherever it does.
 * - A constraint of a rule fills the place of a default's, and of two rules' values
 *   that have no order the one of higher standing is taken.
 * - What is unknown: a rule may count, or make the default count, or not.
 */
#include "postgres.h"

#include "replay/compare.h"
#include "replay/diff.h"

/* What it costs to look at one rule beside another, as PolicyWork counts. */
#define STEPS_OF_COVER 50

static bool
permits(const PolicyRule *rule)
{
	return rule->decision <= POLICY_ALLOW_WITH_CONSTRAINTS;
}

static bool
enforces(const DiffRule *rule)
{
	return rule != NULL && rule->enforces;
}

static DiffDirection
opposite(DiffDirection direction)
{
	return ((direction & DIFF_LOOSENS) != 0 ? DIFF_TIGHTENS : 0) |
		((direction & DIFF_TIGHTENS) != 0 ? DIFF_LOOSENS : 0);
}

/* ---- what is unknown ---- */

static bool
has_unknown_exception(const DiffRule *rule)
{
	for (int i = 0; i < rule->lint.rule->nexceptions; i++)
	{
		if (rule->lint.exceptions[i] != NULL && rule->lint.rule->exceptions[i].match.when != NULL)
			return true;
	}
	return false;
}

void
diff_judge_rule(DiffRule *rule)
{
	const PolicyRule *r = rule->lint.rule;

	rule->enforces = rule->lint.live && !r->monitor;
	rule->unsure = has_unknown_exception(rule) ||
		(!permits(r) && (r->match.when != NULL || r->velocity != NULL));
	rule->bounds = diff_constraints(r);
}

/*
 * Whether what is unknown of the other rules leaves the sense of a change of one as
 * it is: those that can be unsure bound nothing, or deny.  Under first_match, too, an
 * exception that may hold counts as one that newly does wherever its rule stops
 * winning.
 */
static bool
others_are_simple(const Diff *diff, const DiffRule *changed)
{
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const DiffRule *rule = &diff->from.rules[i];

		if (rule == changed || !enforces(rule))
			continue;
		if (diff->from.policy->first_match && !permits(rule->lint.rule) &&
			has_unknown_exception(rule))
			return false;
		if (rule->unsure && rule->bounds->u.object.count > 0)
			return false;
	}
	return true;
}

/* The same of a change to or from a denial, which silences all bounds. */
static bool
denial_is_simple(const Diff *diff, const DiffRule *changed)
{
	return !diff->from.policy->first_match || others_are_simple(diff, changed);
}

static bool
others_are_sure(const Diff *diff, const DiffRule *changed)
{
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const DiffRule *rule = &diff->from.rules[i];

		if (rule != changed && enforces(rule) && rule->unsure)
			return false;
	}
	return true;
}

/* Whether another rule certainly applies wherever a rule does. */
static bool
is_covered(Diff *diff, const DiffRule *rule, const DiffRule *changed)
{
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const DiffRule *other = &diff->from.rules[i];

		if (other == changed || !enforces(other) || other->unsure)
			continue;
		diff->search.work.left -= STEPS_OF_COVER;
		if (diff->search.work.left < 0)
			return false;
		if (lint_covers(&diff->search, &other->lint, &rule->lint, LINT_CERTAIN))
			return true;
	}
	return false;
}

/* ---- bounds ---- */

/* An object with that one key, or none. */
static const PolicyConstraint *
alone(const PolicyConstraintPair *pair, const PolicyConstraint *value)
{
	PolicyConstraint *object = palloc0(sizeof(PolicyConstraint));

	if (value == NULL)
		return constraint_empty();
	object->kind = CONSTRAINT_OBJECT;
	object->u.object.pairs = palloc(sizeof(PolicyConstraintPair));
	object->u.object.pairs[0] = *pair;
	object->u.object.pairs[0].value = value;
	object->u.object.count = 1;
	return object;
}

static DiffDirection
bounds_direction(const PolicyConstraint *from, const PolicyConstraint *to)
{
	return (policy_bounds_as_tight(to, from) ? 0 : DIFF_LOOSENS) |
		(policy_bounds_as_tight(from, to) ? 0 : DIFF_TIGHTENS);
}

/* Whether another rule that enforces sets a key. */
static bool
others_set(const Diff *diff, const DiffRule *changed, const PolicyConstraintPair *pair)
{
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const DiffRule *rule = &diff->from.rules[i];

		if (rule != changed && enforces(rule) &&
			diff_value(rule->bounds, pair) != NULL)
			return true;
	}
	return false;
}

/* What one key of a rule's constraints does that was from and is to. */
static DiffDirection
key_direction(const Diff *diff, const DiffRule *changed, const PolicyConstraintPair *pair,
			  const PolicyConstraint *from, const PolicyConstraint *to)
{
	const PolicyConstraint *defaults = diff_default_constraints(diff->from.policy);
	const PolicyConstraint *usual = alone(pair, diff_value(defaults, pair));
	DiffDirection direction;

	if (others_set(diff, changed, pair))
	{
		if (pair->key.bound == POLICY_BOUND_NONE)
			return DIFF_EITHER;
		direction = bounds_direction(alone(pair, from), alone(pair, to));
		if (from != NULL && to != NULL)
			return direction;

		/*
		 * Beside another rule's value, one more tightens, if it also does
		 * alone.
		 */
		return usual->u.object.count == 0 &&
			direction == (from == NULL ? DIFF_TIGHTENS : DIFF_LOOSENS) ? direction : DIFF_EITHER;
	}
	return bounds_direction(constraint_fill(alone(pair, from), usual),
							constraint_fill(alone(pair, to), usual));
}

/* All keys of two constraints; each counts even where it stays, if the rule's standing moves. */
static DiffDirection
constraints_direction(const Diff *diff, const DiffRule *changed, const PolicyConstraint *from,
					  const PolicyConstraint *to, bool standing_moves)
{
	const PolicyConstraint *sides[] = {from, to};
	DiffDirection direction = DIFF_SAME;

	for (int side = 0; side < 2; side++)
	{
		for (int i = 0; i < sides[side]->u.object.count; i++)
		{
			const PolicyConstraintPair *pair = &sides[side]->u.object.pairs[i];
			const PolicyConstraint *was = diff_value(from, pair);
			const PolicyConstraint *is = diff_value(to, pair);

			if (!standing_moves && was != NULL && is != NULL && constraint_equal(was, is))
				continue;
			direction |= key_direction(diff, changed, pair, was, is);
		}
	}
	return direction;
}

/* ---- approvals ---- */

static CompiledApproval
compiled_approval(const PolicyApproval *approval)
{
	CompiledApproval compiled = {
		.approvers = approval->approvers,
		.napprovers = approval->napprovers,
		.immaterial = approval->immaterial,
		.min_approvals = approval->min_approvals,
		.expires_in_sec = approval->expires_in_sec,
		.allow_self = approval->allow_self
	};

	return compiled;
}

static DiffDirection
approval_direction(const PolicyApproval *from, const PolicyApproval *to)
{
	CompiledApproval was;
	CompiledApproval is;

	if (from == NULL || to == NULL)
		return DIFF_SAME;		/* the decision tells */
	was = compiled_approval(from);
	is = compiled_approval(to);
	return (policy_approval_as_strict(&is, &was) ? 0 : DIFF_LOOSENS) |
		(policy_approval_as_strict(&was, &is) ? 0 : DIFF_TIGHTENS);
}

/* ---- a rule more, or one less ---- */

/* An `allow` that bounds nothing never takes over what is tighter than the defaults. */
static DiffDirection
direction_of_adding_allow(Diff *diff, const DiffRule *rule, const DiffRule *changed)
{
	const PolicyConstraint *defaults = diff_default_constraints(diff->from.policy);

	if (!diff->from.policy->first_match)
		return DIFF_LOOSENS;
	if (has_unknown_exception(rule) || !others_are_sure(diff, changed))
		return DIFF_EITHER;
	for (int i = 0; i < diff->from.policy->nrules; i++)
	{
		const DiffRule *other = &diff->from.rules[i];

		if (other != changed && enforces(other) && other->lint.rule->decision != POLICY_DENY &&
			!policy_bounds_as_tight(constraint_fill(other->bounds, defaults),
									defaults))
			return DIFF_EITHER;
	}
	return DIFF_LOOSENS;
}

/* Whether a rule is at least as strict as the default that it can take the place of. */
static bool
outweighs_default(const Diff *diff, const PolicyRule *rule)
{
	PolicyDecision usual = diff->from.policy->default_decision;

	if (rule->decision < usual)
		return false;
	return usual != POLICY_REQUIRE_APPROVAL || rule->decision != usual ||
		(approval_direction(&policy_default_approval, rule->approval) & DIFF_LOOSENS) == 0;
}

/* What it does that a rule, in the place of changed if that is given, applies to more jobs. */
static DiffDirection
direction_of_adding(Diff *diff, const DiffRule *rule, const DiffRule *changed)
{
	const PolicyRule *r = rule->lint.rule;

	if (r->decision == POLICY_DENY)
		return denial_is_simple(diff, changed) ? DIFF_TIGHTENS : DIFF_EITHER;
	if (!others_are_simple(diff, changed))
		return DIFF_EITHER;
	if (permits(r) && rule->bounds->u.object.count == 0)
		return direction_of_adding_allow(diff, rule, changed);
	if (diff->from.policy->first_match || (permits(r) && has_unknown_exception(rule)))
		return DIFF_EITHER;
	if ((constraints_direction(diff, changed, constraint_empty(), rule->bounds, false) & DIFF_LOOSENS) != 0)
		return DIFF_EITHER;
	return outweighs_default(diff, r) || is_covered(diff, rule, changed) ? DIFF_TIGHTENS : DIFF_EITHER;
}

/* ---- a rule that is another ---- */

static bool
same_exceptions(Diff *diff, const DiffRule *a, const DiffRule *b)
{
	if (a->lint.rule->nexceptions != b->lint.rule->nexceptions)
		return false;
	for (int i = 0; i < a->lint.rule->nexceptions; i++)
	{
		if (!diff_same_exception(diff, a, i, b, i))
			return false;
	}
	return true;
}

/* Whether two rules, of whatever decision, ask the same. */
static bool
same_reach(Diff *diff, const DiffRule *a, const DiffRule *b)
{
	return a->lint.begins == b->lint.begins &&
		a->lint.rule->expires_at == b->lint.rule->expires_at &&
		diff_same_velocity(a->lint.rule->velocity, b->lint.rule->velocity) &&
		diff_same_match(diff, &a->lint.rule->match, a->lint.shape, &b->lint.rule->match,
						b->lint.shape) &&
		same_exceptions(diff, a, b);
}

/* Whether one velocity is exceeded wherever another is: its rule's counter is the same. */
static bool
velocity_covers(const PolicyVelocity *over, const PolicyVelocity *velocity)
{
	PolicyVelocity adjusted;

	if (over == NULL || velocity == NULL)
		return over == NULL;
	adjusted = *over;
	adjusted.max_requests = velocity->max_requests;
	return diff_same_velocity(&adjusted, velocity) && over->max_requests <= velocity->max_requests;
}

/* Whether over counts wherever rule does. */
static bool
reaches_over(Diff *diff, const DiffRule *over, const DiffRule *rule)
{
	PolicyRule	over_rule = *over->lint.rule;
	PolicyRule	rule_rule = *rule->lint.rule;
	LintRule	over_lint = over->lint;
	LintRule	rule_lint = rule->lint;

	if (!velocity_covers(over_rule.velocity, rule_rule.velocity))
		return false;
	over_rule.velocity = rule_rule.velocity = NULL;
	over_lint.rule = &over_rule;
	rule_lint.rule = &rule_rule;
	return lint_covers(&diff->search, &over_lint, &rule_lint, LINT_COUNTS);
}

/*
 * Two rules of one effect, neither of which denies, the one in the place of the other;
 * changed is that of the first policy.
 */
static DiffDirection
reach_direction(Diff *diff, const DiffRule *from, const DiffRule *to, const DiffRule *changed)
{
	bool		unsure = from->unsure || to->unsure;

	if (same_reach(diff, from, to))
		return DIFF_SAME;
	if (unsure && permits(to->lint.rule) && to->bounds->u.object.count > 0)
		return DIFF_EITHER;
	/* Where one of them is unsure, the default can count beside it. */
	if (unsure && !permits(to->lint.rule) &&
		!(is_covered(diff, from, changed) && is_covered(diff, to, changed)))
		return DIFF_EITHER;
	if (to->lint.rule->decision == POLICY_THROTTLE &&
		!diff_same_velocity(from->lint.rule->velocity, to->lint.rule->velocity))
		return DIFF_EITHER;		/* what is waited differs */
	if (reaches_over(diff, to, from))
		return direction_of_adding(diff, to, changed);
	if (reaches_over(diff, from, to))
		return opposite(direction_of_adding(diff, from, changed));
	return DIFF_EITHER;
}

/* Two rules that apply to the same jobs, neither of which denies. */
static DiffDirection
effect_direction(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	const PolicyRule *was = from->lint.rule;
	const PolicyRule *is = to->lint.rule;
	DiffDirection direction = DIFF_SAME;

	/*
	 * One asks for approval and the other makes wait: a job can have both to
	 * do.
	 */
	if (Min(is->decision, was->decision) == POLICY_THROTTLE && is->decision != was->decision)
		return DIFF_EITHER;
	if (is->decision != was->decision)
		direction |= is->decision > was->decision ? DIFF_TIGHTENS : DIFF_LOOSENS;
	if (is->decision == POLICY_THROTTLE && was->decision == POLICY_THROTTLE &&
		is->velocity == NULL && was->velocity == NULL && is->retry_after_sec != was->retry_after_sec)
		direction |= is->retry_after_sec > was->retry_after_sec ? DIFF_TIGHTENS : DIFF_LOOSENS;
	direction |= approval_direction(was->approval, is->approval);
	direction |= constraints_direction(diff, from, from->bounds, to->bounds,
									   is->decision != was->decision);
	if (direction == DIFF_SAME)
		return DIFF_SAME;
	if ((from->unsure || to->unsure) &&
		(permits(was) || permits(is) || !is_covered(diff, from, from)))
		return DIFF_EITHER;
	return others_are_simple(diff, from) ? direction : DIFF_EITHER;
}

/* A rule that asks what from asks, and does what to does. */
static void
make_between(const DiffRule *from, const DiffRule *to, PolicyRule *rule, DiffRule *between)
{
	*rule = *to->lint.rule;
	rule->not_before = from->lint.rule->not_before;
	rule->expires_at = from->lint.rule->expires_at;
	rule->match = from->lint.rule->match;
	rule->velocity = from->lint.rule->velocity;
	rule->exceptions = from->lint.rule->exceptions;
	rule->nexceptions = from->lint.rule->nexceptions;
	*between = *from;
	between->lint.rule = rule;
	diff_judge_rule(between);
}

/* One of two rules denies, or both do. */
static DiffDirection
denial_direction(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	bool		grows = to->lint.rule->decision == POLICY_DENY && reaches_over(diff, to, from);
	bool		shrinks = from->lint.rule->decision == POLICY_DENY && reaches_over(diff, from, to);

	if (grows && shrinks)
		return DIFF_SAME;
	if ((!grows && !shrinks) || !denial_is_simple(diff, from))
		return DIFF_EITHER;
	return grows ? DIFF_TIGHTENS : DIFF_LOOSENS;
}

static DiffDirection
direction_of_change(Diff *diff, const DiffRule *from, const DiffRule *to)
{
	DiffRule	between;
	PolicyRule	rule;
	DiffDirection effect;

	if (from->lint.rule->decision == POLICY_DENY || to->lint.rule->decision == POLICY_DENY)
		return denial_direction(diff, from, to);
	make_between(from, to, &rule, &between);
	effect = effect_direction(diff, from, &between);
	return effect == DIFF_EITHER ? effect : effect | reach_direction(diff, &between, to, from);
}

static DiffDirection
rule_direction(Diff *diff, const DiffChange *change)
{
	const DiffRule *from = change->from;
	const DiffRule *to = change->to;

	if (!enforces(from) && !enforces(to))
		return DIFF_SAME;
	if (!enforces(from))
		return direction_of_adding(diff, to, from);
	if (!enforces(to))
		return opposite(direction_of_adding(diff, from, from));
	return direction_of_change(diff, from, to);
}

/* ---- all others ---- */

/* Order is a matter of which rule wins, and of whose bounds come first. */
static DiffDirection
move_direction(const Diff *diff, const DiffRule *rule)
{
	if (!enforces(rule))
		return DIFF_SAME;
	if (diff->from.policy->first_match)
		return DIFF_EITHER;
	return constraints_direction(diff, rule, rule->bounds,
								 rule->bounds, true);
}

/* The default constraints: what rules do not set, and what counts where the default does. */
static DiffDirection
default_bounds_direction(const Diff *diff)
{
	const PolicyConstraint *from = diff_default_constraints(diff->from.policy);
	const PolicyConstraint *to = diff_default_constraints(diff->to.policy);
	const PolicyConstraint *sides[] = {from, to};
	DiffDirection direction = DIFF_SAME;

	for (int side = 0; side < 2; side++)
	{
		for (int i = 0; i < sides[side]->u.object.count; i++)
		{
			const PolicyConstraintPair *pair = &sides[side]->u.object.pairs[i];
			const PolicyConstraint *was = diff_value(from, pair);
			const PolicyConstraint *is = diff_value(to, pair);

			if (was != NULL && is != NULL && constraint_equal(was, is))
				continue;
			if (pair->key.bound == POLICY_BOUND_NONE && others_set(diff, NULL, pair))
				return DIFF_EITHER;
			direction |= bounds_direction(alone(pair, was), alone(pair, is));
		}
	}
	return direction;
}

static DiffDirection
defaults_direction(const Diff *diff)
{
	PolicyDecision was = diff->from.policy->default_decision;
	PolicyDecision is = diff->to.policy->default_decision;
	DiffDirection bounds = default_bounds_direction(diff);

	if (bounds != DIFF_SAME && !others_are_simple(diff, NULL))
		return DIFF_EITHER;
	if (was == is)
		return bounds;
	if (is == POLICY_DENY || was == POLICY_DENY ? !denial_is_simple(diff, NULL) :
		!others_are_simple(diff, NULL))
		return DIFF_EITHER;
	return bounds | (is > was ? DIFF_TIGHTENS : DIFF_LOOSENS);
}

/* Evidence that hides more is the tighter. */
static DiffDirection
masks_direction(const PolicyPathList *from, const PolicyPathList *to)
{
	DiffDirection direction = DIFF_SAME;

	for (int i = 0; i < from->count; i++)
	{
		if (!diff_has_path(to, &from->items[i]))
			direction |= DIFF_LOOSENS;
	}
	for (int i = 0; i < to->count; i++)
	{
		if (!diff_has_path(from, &to->items[i]))
			direction |= DIFF_TIGHTENS;
	}
	return direction;
}

DiffDirection
diff_direction(Diff *diff, const DiffChange *change)
{
	switch (change->kind)
	{
		case DIFF_RULE:
			return rule_direction(diff, change);
		case DIFF_MOVED:
			return move_direction(diff, change->from);
		case DIFF_DEFAULTS:
			return defaults_direction(diff);
		case DIFF_MASKS:
			return masks_direction(&diff->from.policy->masks, &diff->to.policy->masks);
		case DIFF_COMBINE:
			break;
	}
	return DIFF_EITHER;
}
