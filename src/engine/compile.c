/*
 * compile.c
 *	  A policy made ready to decide.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "engine/compile.h"
#include "engine/edit.h"
#include "engine/rule_index.h"

static void
compile_globs(const PolicyPatternList *patterns, GlobList *list)
{
	list->count = patterns->count;
	list->globs = patterns->count > 0 ? palloc0(sizeof(Glob) * patterns->count) : NULL;
	for (int i = 0; i < patterns->count; i++)
		glob_compile(patterns->items[i], &list->globs[i]);
}

static int
patterns_in(const PolicyCondition *condition)
{
	return condition->any.count + condition->all.count + condition->none.count;
}

static void
compile_labels(const PolicyMatch *match, CompiledMatch *compiled)
{
	compiled->nlabels = match->nlabels;
	compiled->labels = palloc0(sizeof(CompiledLabel) * Max(match->nlabels, 1));
	for (int i = 0; i < match->nlabels; i++)
	{
		const PolicyLabelCondition *from = &match->labels[i];
		CompiledLabel *to = &compiled->labels[i];

		to->name = pnstrdup(from->name, from->namelen);
		to->len = from->namelen;
		to->present = patterns_in(&from->condition) == 0;
		compile_globs(&from->condition.any, &to->any);
		compile_globs(&from->condition.all, &to->all);
		compile_globs(&from->condition.none, &to->none);
	}
}

static void
compile_match(const PolicyMatch *match, CompiledMatch *compiled)
{
	int			count = 0;

	for (int field = 0; field < POLICY_NFIELDS; field++)
		count += patterns_in(&match->fields[field]) > 0;
	compiled->conditions = palloc0(sizeof(CompiledCondition) * Max(count, 1));
	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		const PolicyCondition *from = &match->fields[field];
		CompiledCondition *to = &compiled->conditions[compiled->nconditions];

		if (patterns_in(from) == 0)
			continue;
		to->field = field;
		compile_globs(&from->any, &to->any);
		compile_globs(&from->all, &to->all);
		compile_globs(&from->none, &to->none);
		compiled->nconditions++;
	}
	compile_labels(match, compiled);
	compiled->has_secrets_present = match->has_secrets_present;
	compiled->secrets_present = match->secrets_present;
	if (match->when != NULL)
	{
		compiled->when = policy_predicate_compile(match->when);
		compiled->lax = match->lax;
		compiled->null_places = policy_paths_copy(&match->null_places);
	}
}

static void
compile_exceptions(const PolicyRule *rule, CompiledRule *compiled)
{
	compiled->nexceptions = rule->nexceptions;
	compiled->exceptions = palloc0(sizeof(CompiledException) * Max(rule->nexceptions, 1));
	for (int i = 0; i < rule->nexceptions; i++)
	{
		compiled->exceptions[i].id = pstrdup(rule->exceptions[i].id);
		compiled->exceptions[i].expires_at = rule->exceptions[i].expires_at;
		compile_match(&rule->exceptions[i].match, &compiled->exceptions[i].match);
	}
}

static const CompiledApproval *
compile_approval(const PolicyApproval *approval)
{
	CompiledApproval *compiled = palloc0(sizeof(CompiledApproval));

	compiled->napprovers = approval->napprovers;
	compiled->approvers = palloc(sizeof(char *) * Max(approval->napprovers, 1));
	for (int i = 0; i < approval->napprovers; i++)
		compiled->approvers[i] = pstrdup(approval->approvers[i]);
	compiled->immaterial = policy_paths_copy(&approval->immaterial);
	compiled->min_approvals = approval->min_approvals;
	compiled->expires_in_sec = approval->expires_in_sec;
	compiled->allow_self = approval->allow_self;
	return compiled;
}

static text *
rule_reason(const PolicyRule *rule)
{
	if (rule->reason != NULL)
		return cstring_to_text(rule->reason);
	return cstring_to_text(psprintf("matched rule %s", rule->id));
}

static void
compile_rule(const CompiledPolicy *policy, const PolicyRule *rule, int position,
			 CompiledRule *compiled)
{
	compiled->id = pstrdup(rule->id);
	compiled->id_text = cstring_to_text(rule->id);
	compiled->reason = rule_reason(rule);
	compiled->decision = rule->decision;
	compiled->monitor = rule->monitor;
	compiled->position = position;
	compiled->not_before = rule->not_before;
	compiled->expires_at = rule->expires_at;
	compile_match(&rule->match, &compiled->match);
	compile_exceptions(rule, compiled);
	compiled->constraints = rule->constraints != NULL ?
		constraint_from_node(rule->constraints) : constraint_empty();
	compiled->alone = rule->decision == POLICY_DENY ? policy->no_constraints :
		constraint_to_jsonb(constraint_fill(compiled->constraints,
											policy->default_constraints));
	compiled->has_velocity = rule->velocity != NULL;
	compiled->wait = compiled->has_velocity ?
		rule->velocity->window_seconds : rule->retry_after_sec;
	if (rule->approval != NULL)
		compiled->approval = compile_approval(rule->approval);
}

static bool
compile_rules(const Policy *policy, CompiledPolicy *compiled, PolicyBudget *budget)
{
	compiled->rules = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(CompiledRule) * Max(policy->nrules, 1));
	memset(compiled->rules, 0, sizeof(CompiledRule) * policy->nrules);
	for (int i = 0; i < policy->nrules; i++)
	{
		if (!policy_budget_spend(budget, 16))
			return false;
		if (!policy->rules[i].enabled)
			continue;
		compile_rule(compiled, &policy->rules[i], compiled->nrules,
					 &compiled->rules[compiled->nrules]);
		compiled->nrules++;
	}
	return true;
}

static void
compile_defaults(const Policy *policy, CompiledPolicy *compiled)
{
	compiled->no_constraints = constraint_to_jsonb(constraint_empty());
	compiled->default_decision = policy->default_decision;
	compiled->default_reason = cstring_to_text(policy->default_reason);
	compiled->default_constraints = policy->default_constraints != NULL ?
		constraint_from_node(policy->default_constraints) : constraint_builtin_defaults();
	compiled->default_jsonb = policy->default_decision == POLICY_DENY ?
		compiled->no_constraints : constraint_to_jsonb(compiled->default_constraints);
	if (policy->default_decision == POLICY_REQUIRE_APPROVAL)
		compiled->default_approval = compile_approval(&policy_default_approval);
}

CompiledPolicy *
policy_compile(const Policy *policy, const uint8 *digest, MemoryContext parent,
			   PolicyBudget *budget)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "compiled policy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	CompiledPolicy *compiled = palloc0(sizeof(CompiledPolicy));
	bool		complete;

	compiled->context = context;
	compiled->first_match = policy->first_match;
	memcpy(compiled->digest, digest, POLICY_DIGEST_LENGTH);
	compile_defaults(policy, compiled);
	compiled->masks = policy_paths_copy(&policy->masks);
	complete = compile_rules(policy, compiled, budget);
	if (complete)
		compiled->index = rule_index_build(compiled->rules, compiled->nrules);
	MemoryContextSwitchTo(caller);
	if (!complete)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	/* Until now an error would have freed it along with the caller's context. */
	MemoryContextSetParent(context, parent);
	return compiled;
}
