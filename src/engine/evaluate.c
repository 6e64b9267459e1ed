/*
 * evaluate.c
 *	  From the rules that apply to a verdict (docs/policy-language.md, sections
 *	  4 and 5).
 *
 * A Member is one voice in the verdict: an applying rule, or the default where
 * it counts as one.  Their standing: strictest first, then in document order, the
 * default last.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "engine/evaluate.h"
#include "engine/verdict_cache.h"

typedef struct Member
{
	const CompiledRule *rule;	/* NULL: the default */
	PolicyDecision decision;
	bool		bounds;			/* it sets constraints */
	int			wait;			/* ApplyingRule's */
} Member;

typedef struct Members
{
	Member		winner;			/* of the highest standing */
	int			count;
	const CompiledRule **rules; /* those that are rules, in document order */
	int			nrules;
	bool		with_default;
	Member	   *bounding;		/* those that set constraints, but for the
								 * denying ones; in document order */
	int			nbounding;
	int			wait;			/* the greatest of those that throttle */
	const PolicyConstraint *constraints;	/* merged and filled; NULL where
											 * the one member's own is at hand */
} Members;

static void
add_member(Members *members, const Member *member, int most)
{
	if (members->count == 0 || member->decision > members->winner.decision)
		members->winner = *member;
	members->count++;
	if (member->rule != NULL && member->decision == POLICY_THROTTLE)
		members->wait = Max(members->wait, member->wait > 0 ? member->wait : member->rule->wait);
	if (member->decision == POLICY_DENY || !member->bounds)
		return;
	if (members->bounding == NULL)
		members->bounding = palloc(sizeof(Member) * most);
	members->bounding[members->nbounding++] = *member;
}

/* The decision of a rule (NULL: the default), or what it counts as once satisfied. */
static PolicyDecision
standing_decision(const CompiledRule *rule, PolicyDecision decision,
				  PolicySatisfied *satisfied)
{
	if (satisfied == NULL ||
		(decision != POLICY_THROTTLE && decision != POLICY_REQUIRE_APPROVAL) ||
		!satisfied->holds(satisfied, rule))
		return decision;
	return rule != NULL && rule->bounded ?
		POLICY_ALLOW_WITH_CONSTRAINTS : POLICY_ALLOW;
}

static Member
default_member(const CompiledPolicy *policy, PolicySatisfied *satisfied)
{
	Member		member;

	member.rule = NULL;
	member.decision = standing_decision(NULL, policy->default_decision, satisfied);
	member.bounds = policy->default_constraints->u.object.count > 0;
	member.wait = 0;
	return member;
}

/*
 * Collects the applying rules, the MAYBEs among them where asked to.  Where none
 * of them certainly applies, the default is one more.
 */
static Members
collect(const CompiledPolicy *policy, const ApplyingRules *rules, bool with_maybes,
		PolicySatisfied *satisfied)
{
	Members		members = {0};
	bool		certain = false;

	members.rules = palloc(sizeof(CompiledRule *) * (rules->count + 1));
	for (int i = 0; i < rules->count; i++)
	{
		const ApplyingRule *applying = &rules->items[i];
		Member		member;

		if (applying->standing == POLICY_APPLIES_MAYBE && !with_maybes)
			continue;
		certain = certain || applying->standing == POLICY_APPLIES;
		members.rules[members.nrules++] = applying->rule;
		member.rule = applying->rule;
		member.decision = standing_decision(applying->rule, RULE_DECISION(applying->brief),
											satisfied);
		member.bounds = (applying->brief & RULE_BOUNDS) != 0;
		member.wait = applying->wait;
		add_member(&members, &member, rules->count + 1);
	}
	members.with_default = !certain;
	if (!certain)
	{
		Member		member = default_member(policy, satisfied);

		add_member(&members, &member, rules->count + 1);
	}
	return members;
}

static const PolicyConstraint *
member_constraints(const CompiledPolicy *policy, const Member *member)
{
	return member->rule != NULL ? compiled_rule_constraints(policy, member->rule) :
		policy->default_constraints;
}

/* All members' constraints but the denying ones', the tighter winning. */
static const PolicyConstraint *
merged_constraints(const CompiledPolicy *policy, const Members *members)
{
	const PolicyConstraint *merged = constraint_empty();

	for (int decision = POLICY_REQUIRE_APPROVAL; decision >= POLICY_ALLOW; decision--)
	{
		for (int i = 0; i < members->nbounding; i++)
		{
			if ((int) members->bounding[i].decision == decision)
				merged = constraint_merge(merged, member_constraints(policy, &members->bounding[i]));
		}
	}
	return constraint_fill(merged, policy->default_constraints);
}

static Jsonb *
verdict_constraints(const CompiledPolicy *policy, const Members *members)
{
	const Member *winner = &members->winner;

	if (winner->decision == POLICY_DENY)
		return policy->no_constraints;
	if (members->constraints != NULL)
		return constraint_to_jsonb(members->constraints);
	if (members->count == 1)
		return winner->rule != NULL ? compiled_rule_alone(policy, winner->rule) : policy->default_jsonb;
	if (members->nbounding == 0)
		return policy->defaults_alone;
	return constraint_to_jsonb(merged_constraints(policy, members));
}

bool
policy_lends_constraints(const CompiledPolicy *policy, const PolicyVerdict *verdict)
{
	const Jsonb *constraints = verdict->constraints;

	return constraints == policy->no_constraints || constraints == policy->default_jsonb ||
		constraints == policy->defaults_alone ||
		(verdict->winner != NULL && constraints == verdict->winner->alone);
}

static bool
has_maybes(const ApplyingRules *rules)
{
	for (int i = 0; i < rules->count; i++)
	{
		if (rules->items[i].standing == POLICY_APPLIES_MAYBE)
			return true;
	}
	return false;
}

/*
 * Under strictest, a permitting rule with an unknown exception counts only where
 * that leaves the stricter verdict: a stricter decision, or tighter constraints.
 */
static Members
collect_strictest(const CompiledPolicy *policy, const ApplyingRules *rules,
				  PolicySatisfied *satisfied)
{
	Members		without = collect(policy, rules, false, satisfied);
	Members		with;
	const PolicyConstraint *bounds;
	const PolicyConstraint *tighter;

	if (!has_maybes(rules))
		return without;
	with = collect(policy, rules, true, satisfied);
	if (with.winner.decision > without.winner.decision)
		return with;
	if (without.winner.decision == POLICY_DENY)
		return without;
	bounds = merged_constraints(policy, &without);
	tighter = constraint_merge(bounds, merged_constraints(policy, &with));
	if (constraint_equal(bounds, tighter))
		return without;
	with.constraints = tighter;
	return with;
}

static void
set_matched(const Members *members, bool winner_alone, PolicyVerdict *verdict)
{
	if (!winner_alone)
	{
		verdict->matched = members->rules;
		verdict->nmatched = members->nrules;
		verdict->default_counts = members->with_default;
		return;
	}
	verdict->default_counts = members->winner.rule == NULL;
	if (verdict->default_counts)
		return;
	verdict->matched = palloc(sizeof(CompiledRule *));
	verdict->matched[0] = members->winner.rule;
	verdict->nmatched = 1;
}

static void
set_monitored(const ApplyingRules *monitoring, PolicyVerdict *verdict)
{
	if (monitoring->count == 0)
		return;
	verdict->monitored = palloc(sizeof(CompiledRule *) * monitoring->count);
	for (int i = 0; i < monitoring->count; i++)
		verdict->monitored[i] = monitoring->items[i].rule;
	verdict->nmonitored = monitoring->count;
}

/* Makes the verdict of the rules that apply. */
static inline void
decide_among(const CompiledPolicy *policy, const ApplyingRules *enforcing,
			 const ApplyingRules *monitoring, PolicySatisfied *satisfied, PolicyVerdict *verdict)
{
	Members		members;
	const Member *winner;

	members = policy->first_match ? collect(policy, enforcing, true, satisfied) :
		collect_strictest(policy, enforcing, satisfied);
	winner = &members.winner;
	memset(verdict, 0, sizeof(PolicyVerdict));
	verdict->decision = winner->decision;
	verdict->winner = winner->rule;
	verdict->reason = winner->rule != NULL ? compiled_rule_reason(winner->rule) :
		policy->default_reason;
	verdict->constraints = verdict_constraints(policy, &members);
	set_matched(&members, policy->first_match, verdict);
	set_monitored(monitoring, verdict);
	if (verdict->decision == POLICY_THROTTLE)
		verdict->retry_after_sec = members.wait;
}

/* Makes the verdict of the rules that a job has met; false as policy_decide(). */
static bool
decide_found(const CompiledPolicy *policy, const FoundRules *found, Job *job, TimestampTz at,
			 PolicySatisfied *satisfied, PolicyRates *rates, PolicyBudget *budget,
			 PolicyVerdict *verdict)
{
	ApplyingRules enforcing;
	ApplyingRules monitoring;

	policy_match_found(policy, found, job, at, rates, budget, &enforcing, &monitoring);
	if (budget->exhausted)
		return false;
	decide_among(policy, &enforcing, &monitoring, satisfied, verdict);
	return true;
}

/* The same, by way of the cache; what counters say is not among its keys. */
static bool
decide_cached(const CompiledPolicy *policy, const FoundRules *found, Job *job, TimestampTz at,
			  PolicyBudget *budget, PolicyVerdict *verdict)
{
	ApplyingRules open;
	VerdictKey	key;

	policy_match_open(policy, found, job, at, budget, &open);
	if (budget->exhausted)
		return false;
	verdict_key_make(&key, policy, found, &open);
	if (verdict_cache_find(&key, verdict))
		return true;
	if (!decide_found(policy, found, job, at, NULL, NULL, budget, verdict))
		return false;
	verdict_cache_enter(&key, verdict);
	return true;
}

bool
policy_decide(const CompiledPolicy *policy, Job *job, TimestampTz at,
			  PolicySatisfied *satisfied, PolicyRates *rates, PolicyBudget *budget,
			  PolicyVerdict *verdict)
{
	FoundRules	found;

	if (job->invalid != NULL)
	{
		policy_verdict_of_invalid(job, verdict);
		return true;
	}
	rule_index_meet_sparing(policy->index, job, &found);
	if (satisfied == NULL && policy_decision_cache_size > 0 && !policy->has_velocity &&
		found.total - found.open >= VERDICT_CACHE_FEW)
		return decide_cached(policy, &found, job, at, budget, verdict);
	return decide_found(policy, &found, job, at, satisfied, rates, budget, verdict);
}

void
policy_decide_among(const CompiledPolicy *policy, const ApplyingRules *enforcing,
					const ApplyingRules *monitoring, PolicyVerdict *verdict)
{
	decide_among(policy, enforcing, monitoring, NULL, verdict);
}

void
policy_verdict_without_rule(PolicyDecision decision, const char *reason,
							PolicyVerdict *verdict)
{
	memset(verdict, 0, sizeof(PolicyVerdict));
	verdict->decision = decision;
	verdict->reason = cstring_to_text(reason);
	verdict->constraints = constraint_to_jsonb(decision == POLICY_DENY ?
											   constraint_empty() :
											   constraint_builtin_defaults());
}

void
policy_verdict_of_invalid(const Job *job, PolicyVerdict *verdict)
{
	policy_verdict_without_rule(POLICY_DENY,
								psprintf("invalid job: %s", job->invalid), verdict);
}
