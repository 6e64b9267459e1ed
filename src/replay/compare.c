/*
 * compare.c
 *	  Whether a candidate's verdict is looser than its base's, and in what
 *	  (docs/sql-api.md, section 3).
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "engine/edit.h"
#include "engine/match.h"
#include "replay/compare.h"

const char *const policy_change_names[CHANGE_KINDS] = {
	"decision", "constraints", "approval", "exception", "mask", "rule"
};

/* Where a key is: those of the outermost object may mean something to the engine. */
typedef enum KeyPlace
{
	KEY_OUTERMOST,
	KEY_INSIDE
} KeyPlace;

static bool is_as_tight(const PolicyConstraint *a, const PolicyConstraint *b, KeyPlace place);

static const PolicyConstraintPair *
find_pair(const PolicyConstraint *object, const PolicyConstraintPair *pair)
{
	for (int i = 0; i < object->u.object.count; i++)
	{
		const PolicyConstraintPair *found = &object->u.object.pairs[i];

		if (found->len == pair->len && memcmp(found->name, pair->name, pair->len) == 0)
			return found;
	}
	return NULL;
}

/* Whether every item of `inner` is one of `outer`. */
static bool
is_subset(const PolicyConstraint *inner, const PolicyConstraint *outer)
{
	for (int i = 0; i < inner->u.array.count; i++)
	{
		bool		found = false;

		for (int j = 0; j < outer->u.array.count && !found; j++)
			found = constraint_equal(inner->u.array.items[i], outer->u.array.items[j]);
		if (!found)
			return false;
	}
	return true;
}

static int
compare_numbers(const PolicyConstraint *a, const PolicyConstraint *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->u.number),
											 NumericGetDatum(b->u.number)));
}

/* Whether a key's value a is known to be at least as tight as its value b. */
static bool
value_is_as_tight(PolicyConstraintKey key, const PolicyConstraint *a, const PolicyConstraint *b)
{
	if (constraint_equal(a, b))
		return true;
	if (a->kind != b->kind)
		return false;
	switch (a->kind)
	{
		case CONSTRAINT_BOOLEAN:
			return key.sense == POLICY_KEY_ALLOWS ? !a->u.boolean : a->u.boolean;
		case CONSTRAINT_NUMBER:
			if (key.bound == POLICY_BOUND_NONE)
				return false;
			return key.bound == POLICY_BOUND_MAX ? compare_numbers(a, b) <= 0 :
				compare_numbers(a, b) >= 0;
		case CONSTRAINT_ARRAY:
			if (key.sense == POLICY_KEY_OTHER)
				return false;
			return key.sense == POLICY_KEY_DENIES ? is_subset(b, a) : is_subset(a, b);
		case CONSTRAINT_OBJECT:
			return is_as_tight(a, b, KEY_INSIDE);
		default:
			return false;
	}
}

/* The one number of which none at all is the tightest: nothing is tried again then. */
static bool
is_retries(const PolicyConstraintPair *pair, KeyPlace place)
{
	return place == KEY_OUTERMOST && pair->value->kind == CONSTRAINT_NUMBER &&
		pair->len == 11 && memcmp(pair->name, "max_retries", 11) == 0;
}

/* Whether a key grants what is not granted without it. */
static bool
is_grant(const PolicyConstraintPair *pair, KeyPlace place)
{
	return is_retries(pair, place) ||
		(pair->key.sense == POLICY_KEY_ALLOWS && pair->value->kind == CONSTRAINT_BOOLEAN &&
		 pair->value->u.boolean);
}

/*
 * Whether a key that was not there can only bound: a limit, a list of what is allowed
 * or denied, a switch that is set the tighter way.  What any other value stands
 * for, against nothing, nobody knows.
 */
static bool
only_bounds(const PolicyConstraintPair *pair, KeyPlace place)
{
	const PolicyConstraint *value = pair->value;

	switch (value->kind)
	{
		case CONSTRAINT_BOOLEAN:
			return value->u.boolean == (pair->key.sense != POLICY_KEY_ALLOWS);
		case CONSTRAINT_NUMBER:
			return pair->key.bound != POLICY_BOUND_NONE && !is_retries(pair, place);
		case CONSTRAINT_ARRAY:
			return pair->key.sense != POLICY_KEY_OTHER;
		case CONSTRAINT_OBJECT:
			for (int i = 0; i < value->u.object.count; i++)
			{
				if (!only_bounds(&value->u.object.pairs[i], KEY_INSIDE))
					return false;
			}
			return true;
		default:
			return false;
	}
}

/* Whether all that b bounds is bounded by a at least as tightly, and nothing is granted. */
static bool
is_as_tight(const PolicyConstraint *a, const PolicyConstraint *b, KeyPlace place)
{
	for (int i = 0; i < b->u.object.count; i++)
	{
		const PolicyConstraintPair *pair = &b->u.object.pairs[i];
		const PolicyConstraintPair *other = find_pair(a, pair);

		if (other == NULL ? !is_grant(pair, place) :
			!value_is_as_tight(pair->key, other->value, pair->value))
			return false;
	}
	for (int i = 0; i < a->u.object.count; i++)
	{
		const PolicyConstraintPair *pair = &a->u.object.pairs[i];

		if (find_pair(b, pair) == NULL && !only_bounds(pair, place))
			return false;
	}
	return true;
}

bool
policy_bounds_as_tight(const PolicyConstraint *a, const PolicyConstraint *b)
{
	return is_as_tight(a, b, KEY_OUTERMOST);
}

static bool
same_jsonb(const Jsonb *a, const Jsonb *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* The same for two verdicts, neither of which denies. */
static bool
bounds_are_as_tight(const PolicyVerdict *a, const PolicyVerdict *b)
{
	if (a->decision == POLICY_THROTTLE && b->decision == POLICY_THROTTLE &&
		a->retry_after_sec < b->retry_after_sec)
		return false;
	return same_jsonb(a->constraints, b->constraints) ||
		policy_bounds_as_tight(constraint_from_jsonb(a->constraints),
							   constraint_from_jsonb(b->constraints));
}

static bool
has_role(const CompiledApproval *approval, const char *role)
{
	for (int i = 0; i < approval->napprovers; i++)
	{
		if (strcmp(approval->approvers[i], role) == 0)
			return true;
	}
	return false;
}

static bool
leaves_out(const CompiledApproval *approval, const char *path)
{
	for (int i = 0; i < approval->immaterial.count; i++)
	{
		if (strcmp(approval->immaterial.items[i].source, path) == 0)
			return true;
	}
	return false;
}

bool
policy_approval_as_strict(const CompiledApproval *a, const CompiledApproval *b)
{
	if (a->min_approvals < b->min_approvals || a->expires_in_sec > b->expires_in_sec ||
		(a->allow_self && !b->allow_self) || (a->napprovers == 0 && b->napprovers > 0))
		return false;
	for (int i = 0; i < a->napprovers; i++)
	{
		if (b->napprovers > 0 && !has_role(b, a->approvers[i]))
			return false;
	}
	for (int i = 0; i < a->immaterial.count; i++)
	{
		if (!leaves_out(b, a->immaterial.items[i].source))
			return false;
	}
	return true;
}

/* What a verdict asks of people. */
static List *
approvals_asked(const ComparedVerdict *side)
{
	const PolicyVerdict *verdict = side->verdict;
	List	   *asked = NIL;

	if (verdict->decision != POLICY_REQUIRE_APPROVAL)
		return NIL;
	for (int i = 0; i < verdict->nmatched; i++)
	{
		if (verdict->matched[i]->approval != NULL)
			asked = lappend(asked, unconstify(CompiledApproval *, verdict->matched[i]->approval));
	}
	if (verdict->default_counts && side->policy != NULL &&
		side->policy->default_approval != NULL)
		asked = lappend(asked, unconstify(CompiledApproval *, side->policy->default_approval));
	return asked;
}

/* Whether each of what b asks is asked as strictly by a. */
static bool
approvals_are_as_strict(List *a, List *b)
{
	ListCell   *wanted;

	foreach(wanted, b)
	{
		bool		met = false;
		ListCell   *cell;

		foreach(cell, a)
			met = met || policy_approval_as_strict(lfirst(cell), lfirst(wanted));
		if (!met)
			return false;
	}
	return true;
}

static bool
is_listed(const CompiledRule **rules, int count, const char *id)
{
	for (int i = 0; i < count; i++)
	{
		if (strcmp(rules[i]->id, id) == 0)
			return true;
	}
	return false;
}

static const CompiledRule *
rule_by_id(const CompiledPolicy *policy, const char *id)
{
	for (int i = 0; policy != NULL && i < policy->nrules; i++)
	{
		if (strcmp(policy->rules[i].id, id) == 0)
			return &policy->rules[i];
	}
	return NULL;
}

/*
 * Restricting rules that applied and do not any more, whatever the verdict: an
 * exception lets the job past one, or one only watches.
 */
static int
let_go_by(const ComparedVerdict *from, const ComparedVerdict *to, Job *job, TimestampTz at)
{
	const PolicyVerdict *is = to->verdict;
	PolicyBudget no_limit = {0};
	int			why = 0;

	for (int i = 0; i < from->verdict->nmatched; i++)
	{
		const CompiledRule *rule = from->verdict->matched[i];

		if (rule->decision < POLICY_THROTTLE || is_listed(is->matched, is->nmatched, rule->id))
			continue;
		if (is_listed(is->monitored, is->nmonitored, rule->id))
			why |= CHANGE_RULE;
		rule = rule_by_id(to->policy, rule->id);
		if (rule != NULL && rule->nexceptions > 0 &&
			policy_rule_is_excepted(rule, job, at, &no_limit))
			why |= CHANGE_EXCEPTION;
	}
	return why;
}

/* The wait that is left for a job once it is approved; 0: none. */
static int
wait_behind_approval(const PolicyVerdict *verdict)
{
	int			wait = 0;

	for (int i = 0; i < verdict->nmatched; i++)
	{
		if (verdict->matched[i]->decision == POLICY_THROTTLE)
			wait = Max(wait, verdict->matched[i]->wait);
	}
	return wait;
}

/* Whether evidence would show what the base hides of the job. */
static bool
shows_more(const ComparedVerdict *from, const ComparedVerdict *to, const Job *job)
{
	Jsonb	   *shown;

	if (from->policy == NULL || from->policy->masks.count == 0)
		return false;
	shown = policy_without(job->source, &to->policy->masks);
	return !same_jsonb(policy_without(shown, &from->policy->masks), shown);
}

/* In what `to` is looser than `from`. */
static int
looser_in(const ComparedVerdict *from, const ComparedVerdict *to, Job *job, TimestampTz at)
{
	const PolicyVerdict *was = from->verdict;
	const PolicyVerdict *is = to->verdict;
	int			why = 0;

	if (is->decision < was->decision)
		why |= CHANGE_DECISION;
	if (was->decision != POLICY_DENY && is->decision != POLICY_DENY &&
		!bounds_are_as_tight(is, was))
		why |= CHANGE_CONSTRAINTS;
	if (is->decision == POLICY_REQUIRE_APPROVAL &&
		!approvals_are_as_strict(approvals_asked(to), approvals_asked(from)))
		why |= CHANGE_APPROVAL;
	if (was->decision == POLICY_REQUIRE_APPROVAL && is->decision == POLICY_REQUIRE_APPROVAL &&
		wait_behind_approval(is) < wait_behind_approval(was))
		why |= CHANGE_RULE;
	why |= let_go_by(from, to, job, at);
	if (shows_more(from, to, job))
		why |= CHANGE_MASK;
	return why;
}

static int
tighter_in(const ComparedVerdict *from, const ComparedVerdict *to)
{
	const PolicyVerdict *was = from->verdict;
	const PolicyVerdict *is = to->verdict;
	int			why = 0;

	if (is->decision > was->decision)
		why |= CHANGE_DECISION;
	if (was->decision != POLICY_DENY && is->decision != POLICY_DENY &&
		!bounds_are_as_tight(was, is))
		why |= CHANGE_CONSTRAINTS;
	if (was->decision == POLICY_REQUIRE_APPROVAL && is->decision == POLICY_REQUIRE_APPROVAL &&
		!approvals_are_as_strict(approvals_asked(from), approvals_asked(to)))
		why |= CHANGE_APPROVAL;
	if (was->decision == POLICY_REQUIRE_APPROVAL && is->decision == POLICY_REQUIRE_APPROVAL &&
		wait_behind_approval(is) > wait_behind_approval(was))
		why |= CHANGE_RULE;
	return why;
}

PolicyChange
policy_compare(const ComparedVerdict *from, const ComparedVerdict *to, Job *job, TimestampTz at,
			   int *why)
{
	*why = looser_in(from, to, job, at);
	if (*why != 0)
		return POLICY_LOOSENED;
	*why = tighter_in(from, to);
	return *why != 0 ? POLICY_TIGHTENED : POLICY_UNCHANGED;
}
