/*
 * compile.c
 *	  A policy made ready to decide.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "engine/compile.h"
#include "engine/edit.h"
#include "engine/rule_index.h"

/* What a compilation needs besides its input. */
typedef struct Compilation
{
	CompiledPolicy *policy;
	PolicyTree *tree;			/* or NULL */
	PolicyArena arena;
	MemoryContext scratch;		/* reset for each rule */
} Compilation;

static Glob *
compile_globs(Compilation *compilation, const PolicyPatternList *patterns, Glob *globs)
{
	for (int i = 0; i < patterns->count; i++)
		glob_compile(patterns->items[i], &compilation->arena, globs++);
	return globs;
}

static int
patterns_in(const PolicyCondition *condition)
{
	return condition->any.count + condition->all.count + condition->none.count;
}

static void
compile_lists(Compilation *compilation, const PolicyCondition *condition, GlobLists *lists)
{
	int			count = patterns_in(condition);
	Glob	   *next;

	if (count == 0)
		return;
	lists->globs = policy_arena_alloc(&compilation->arena, sizeof(Glob) * count);
	lists->nany = condition->any.count;
	lists->nall = condition->all.count;
	lists->nnone = condition->none.count;
	next = compile_globs(compilation, &condition->any, lists->globs);
	next = compile_globs(compilation, &condition->all, next);
	compile_globs(compilation, &condition->none, next);
}

static void
compile_labels(Compilation *compilation, const PolicyMatch *match, CompiledMatch *compiled)
{
	if (match->nlabels == 0)
		return;
	compiled->nlabels = match->nlabels;
	compiled->labels = policy_arena_alloc(&compilation->arena,
										  sizeof(CompiledLabel) * match->nlabels);
	for (int i = 0; i < match->nlabels; i++)
	{
		const PolicyLabelCondition *from = &match->labels[i];
		CompiledLabel *to = &compiled->labels[i];

		to->name = policy_arena_string(&compilation->arena, from->name, from->namelen);
		to->len = from->namelen;
		to->present = patterns_in(&from->condition) == 0;
		compile_lists(compilation, &from->condition, &to->lists);
	}
}

static void
compile_conditions(Compilation *compilation, const PolicyMatch *match, CompiledMatch *compiled)
{
	PolicyField said[POLICY_NFIELDS];
	int			count = 0;

	for (int field = 0; field < POLICY_NFIELDS; field++)
	{
		if (patterns_in(&match->fields[field]) > 0)
			said[count++] = field;
	}
	if (count == 0)
		return;
	compiled->nconditions = count;
	compiled->conditions = policy_arena_alloc(&compilation->arena,
											  sizeof(CompiledCondition) * count);
	for (int i = 0; i < count; i++)
	{
		compiled->conditions[i].field = said[i];
		compile_lists(compilation, &match->fields[said[i]], &compiled->conditions[i].lists);
	}
}

static void
compile_match(Compilation *compilation, const PolicyMatch *match, CompiledMatch *compiled)
{
	compile_conditions(compilation, match, compiled);
	compile_labels(compilation, match, compiled);
	compiled->has_secrets_present = match->has_secrets_present;
	compiled->secrets_present = match->secrets_present;
	if (match->when == NULL)
		return;
	MemoryContextSwitchTo(compilation->policy->context);
	compiled->has_when = true;
	compiled->when = policy_predicate_compile(match->when);
	compiled->lax = match->lax;
	if (match->null_places.count > 0)
	{
		PolicyPathList *places = policy_arena_alloc(&compilation->arena, sizeof(PolicyPathList));

		*places = policy_paths_copy(&match->null_places);
		compiled->null_places = places;
	}
	MemoryContextSwitchTo(compilation->scratch);
}

static void
compile_exceptions(Compilation *compilation, const PolicyRule *rule, CompiledRule *compiled)
{
	if (rule->nexceptions == 0)
		return;
	compiled->nexceptions = rule->nexceptions;
	compiled->exceptions = policy_arena_alloc(&compilation->arena,
											  sizeof(CompiledException) * rule->nexceptions);
	for (int i = 0; i < rule->nexceptions; i++)
	{
		const PolicyException *from = &rule->exceptions[i];

		compiled->exceptions[i].id = policy_arena_string(&compilation->arena, from->id,
														 strlen(from->id));
		compiled->exceptions[i].expires_at = from->expires_at;
		compile_match(compilation, &from->match, &compiled->exceptions[i].match);
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

text *
compiled_rule_reason(const CompiledRule *rule)
{
	static const char lead[] = "matched rule ";
	const int	leadlen = sizeof(lead) - 1;
	int			idlen = VARSIZE(rule->id_text) - VARHDRSZ;
	text	   *reason;

	if (rule->reason != NULL)
		return rule->reason;
	reason = palloc(VARHDRSZ + leadlen + idlen);
	SET_VARSIZE(reason, VARHDRSZ + leadlen + idlen);
	memcpy(VARDATA(reason), lead, leadlen);
	memcpy(VARDATA(reason) + leadlen, VARDATA(rule->id_text), idlen);
	return reason;
}

bool
compiled_rule_is_certain(const CompiledRule *rule)
{
	return rule->not_before == DT_NOBEGIN && rule->expires_at == DT_NOEND &&
		rule->nexceptions == 0 && rule->velocity == NULL && !rule->match.has_when &&
		!rule->match.has_secrets_present && rule->match.nlabels == 0 &&
		(rule->match.nconditions == 0 ||
		 (rule->match.nconditions == 1 && rule->proven == 0));
}

/*
 * The rules' constraints, for those that were asked for, and as jsonb, each different
 * one kept once, by its hash.
 */
struct SharedConstraints
{
	MemoryContext context;
	PolicyArena arena;
	Jsonb	  **slots;
	uint32		mask;
	uint32		count;
};

static uint32
hash_of(Jsonb *constraints)
{
	return hash_bytes((unsigned char *) constraints, VARSIZE(constraints));
}

static void
grow_shared(SharedConstraints *shared)
{
	uint32		old_size = shared->slots == NULL ? 0 : shared->mask + 1;
	uint32		size = Max(64, old_size * 2);
	Jsonb	  **slots = MemoryContextAllocHuge(shared->context, sizeof(Jsonb *) * size);

	memset(slots, 0, sizeof(Jsonb *) * size);
	for (uint32 i = 0; i < old_size; i++)
	{
		uint32		slot;

		if (shared->slots[i] == NULL)
			continue;
		slot = hash_of(shared->slots[i]) & (size - 1);
		while (slots[slot] != NULL)
			slot = (slot + 1) & (size - 1);
		slots[slot] = shared->slots[i];
	}
	if (shared->slots != NULL)
		pfree(shared->slots);
	shared->slots = slots;
	shared->mask = size - 1;
}

static Jsonb *
share_constraints(SharedConstraints *shared, Jsonb *constraints)
{
	uint32		slot;

	if (shared->count * 2 >= shared->mask)
		grow_shared(shared);
	for (slot = hash_of(constraints) & shared->mask; shared->slots[slot] != NULL;
		 slot = (slot + 1) & shared->mask)
	{
		Jsonb	   *known = shared->slots[slot];

		if (VARSIZE(known) == VARSIZE(constraints) &&
			memcmp(known, constraints, VARSIZE(constraints)) == 0)
			return known;
	}
	shared->slots[slot] = MemoryContextAlloc(shared->context, VARSIZE(constraints));
	memcpy(shared->slots[slot], constraints, VARSIZE(constraints));
	shared->count++;
	return shared->slots[slot];
}

const PolicyConstraint *
compiled_rule_constraints(const CompiledPolicy *policy, const CompiledRule *rule)
{
	if (rule->constraints != NULL)
		return rule->constraints;
	return policy->rules[rule->position].constraints =
		constraint_from_node(policy_tree_node(VARDATA(rule->written),
											  VARSIZE(rule->written) - VARHDRSZ),
							 &policy->shared->arena);
}

Jsonb *
compiled_rule_alone(const CompiledPolicy *policy, const CompiledRule *rule)
{
	if (rule->alone != NULL)
		return rule->alone;
	return policy->rules[rule->position].alone =
		share_constraints(policy->shared,
						  constraint_to_jsonb(constraint_fill(compiled_rule_constraints(policy, rule),
															  policy->default_constraints)));
}

static void
compile_constraints(Compilation *compilation, const PolicyRule *rule, CompiledRule *compiled)
{
	CompiledPolicy *policy = compilation->policy;
	PolicyTree *tree = compilation->tree;

	if (tree != NULL && tree->constraints.count > 0)
	{
		compiled->written = policy_arena_text(&compilation->arena, tree->constraints.bytes,
											  tree->constraints.len);
		compiled->bounded = true;
	}
	else
	{
		compiled->constraints = rule->constraints == NULL ? constraint_empty() :
			constraint_from_node(rule->constraints, &compilation->arena);
		compiled->bounded = compiled->constraints->u.object.count > 0;
	}
	if (rule->decision == POLICY_DENY)
		compiled->alone = policy->no_constraints;
	else if (!compiled->bounded)
		compiled->alone = policy->defaults_alone;
}

static void
compile_velocity(Compilation *compilation, const PolicyRule *rule, CompiledRule *compiled)
{
	PolicyVelocity *velocity;

	if (rule->velocity == NULL)
		return;
	velocity = policy_arena_alloc(&compilation->arena, sizeof(PolicyVelocity));
	*velocity = *rule->velocity;
	velocity->parts = policy_arena_alloc(&compilation->arena,
										 sizeof(PolicyKeyPart) * velocity->nparts);
	for (int i = 0; i < velocity->nparts; i++)
	{
		PolicyKeyPart *part = &velocity->parts[i];

		*part = rule->velocity->parts[i];
		if (part->kind == POLICY_KEYPART_LABEL)
			part->label = policy_arena_string(&compilation->arena, part->label, part->labellen);
	}
	compiled->velocity = velocity;
	compiled->wait = velocity->window_seconds;
}

static void
compile_rule(Compilation *compilation, const PolicyRule *rule, int position,
			 CompiledRule *compiled)
{
	compiled->id_text = policy_arena_text(&compilation->arena, rule->id, strlen(rule->id));
	compiled->id = VARDATA(compiled->id_text);
	if (rule->reason != NULL)
		compiled->reason = policy_arena_text(&compilation->arena, rule->reason,
											 strlen(rule->reason));
	compiled->decision = rule->decision;
	compiled->monitor = rule->monitor;
	compiled->position = position;
	compiled->proven = -1;
	compiled->not_before = rule->not_before;
	compiled->expires_at = rule->expires_at;
	compile_match(compilation, &rule->match, &compiled->match);
	compile_exceptions(compilation, rule, compiled);
	compile_constraints(compilation, rule, compiled);
	compiled->wait = rule->retry_after_sec;
	compile_velocity(compilation, rule, compiled);
	compilation->policy->has_velocity |= rule->velocity != NULL;
	if (rule->approval == NULL)
		return;
	MemoryContextSwitchTo(compilation->policy->context);
	compiled->approval = compile_approval(rule->approval);
	MemoryContextSwitchTo(compilation->scratch);
}

static bool
compile_rules(Compilation *compilation, const Policy *policy, PolicyBudget *budget)
{
	CompiledPolicy *compiled = compilation->policy;
	PolicyTree *tree = compilation->tree;
	PolicyRule	from_tree;

	compiled->rules = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(CompiledRule) * Max(policy->nrules, 1));
	memset(compiled->rules, 0, sizeof(CompiledRule) * policy->nrules);
	for (int i = 0; i < policy->nrules; i++)
	{
		const PolicyRule *rule = &from_tree;

		if (!policy_budget_spend(budget, 16))
			return false;
		MemoryContextReset(compilation->scratch);
		MemoryContextSwitchTo(compilation->scratch);
		if (tree == NULL)
			rule = &policy->rules[i];
		else
			policy_tree_next_rule(tree, &from_tree);
		if (rule->enabled)
		{
			compile_rule(compilation, rule, compiled->nrules, &compiled->rules[compiled->nrules]);
			compiled->nrules++;
		}
		MemoryContextSwitchTo(compiled->context);
	}
	return true;
}

static void
brief_rules(CompiledPolicy *policy)
{
	policy->briefs = palloc(Max(policy->nrules, 1));
	for (int i = 0; i < policy->nrules; i++)
	{
		const CompiledRule *rule = &policy->rules[i];

		policy->briefs[i] = (uint8) ((int) rule->decision << 4) |
			(rule->monitor ? RULE_MONITOR : 0) |
			(rule->bounded ? RULE_BOUNDS : 0);
	}
}

static void
compile_defaults(Compilation *compilation, const Policy *policy)
{
	CompiledPolicy *compiled = compilation->policy;

	compiled->no_constraints = constraint_to_jsonb(constraint_empty());
	compiled->default_decision = policy->default_decision;
	compiled->default_reason = cstring_to_text(policy->default_reason);
	compiled->default_constraints = policy->default_constraints != NULL ?
		constraint_from_node(policy->default_constraints, &compilation->arena) : constraint_builtin_defaults();
	compiled->default_jsonb = policy->default_decision == POLICY_DENY ?
		compiled->no_constraints : constraint_to_jsonb(compiled->default_constraints);
	compiled->defaults_alone = constraint_to_jsonb(compiled->default_constraints);
	if (policy->default_decision == POLICY_REQUIRE_APPROVAL)
		compiled->default_approval = compile_approval(&policy_default_approval);
}

/* Policies that this process has compiled. */
static uint64 serials = 0;

CompiledPolicy *
policy_compile(const Policy *policy, PolicyTree *tree, const uint8 *digest,
			   MemoryContext parent, PolicyBudget *budget)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "compiled policy",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	CompiledPolicy *compiled = palloc0(sizeof(CompiledPolicy));
	Compilation compilation = {.policy = compiled, .tree = tree};
	bool		complete;

	compiled->context = context;
	compiled->first_match = policy->first_match;
	memcpy(compiled->digest, digest, POLICY_DIGEST_LENGTH);
	compiled->serial = ++serials;
	compiled->shared = palloc0(sizeof(SharedConstraints));
	compiled->shared->context = context;
	policy_arena_init(&compiled->shared->arena, context);
	policy_arena_init(&compilation.arena, context);
	compilation.scratch = AllocSetContextCreate(caller, "policy compilation",
												ALLOCSET_DEFAULT_SIZES);
	compile_defaults(&compilation, policy);
	compiled->masks = policy_paths_copy(&policy->masks);
	complete = compile_rules(&compilation, policy, budget);
	if (complete)
	{
		brief_rules(compiled);
		compiled->index = rule_index_make(compiled->rules, compiled->briefs, compiled->nrules);
	}
	MemoryContextDelete(compilation.scratch);
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
