/*
 * lint.c
 *	  Warnings about a policy without errors.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "engine/constraints.h"
#include "engine/lint.h"
#include "engine/lint_rules.h"
#include "language/constraint_key.h"
#include "language/name_table.h"

typedef struct Lint
{
	PolicyDiagnostics *diags;
	PolicyNameTable settings;	/* a constraint's place -> who set it first */
	MemoryContext scratch;
} Lint;

/* The first rule that set a constraint, and to what. */
typedef struct Setting
{
	const PolicyRule *rule;
	const PolicyNode *value;
	bool		reported;
} Setting;

static void
warn(PolicyDiagnostics *diags, PolicyMark mark, const char *code, const char *hint,
	 const char *message)
{
	policy_diagnose(diags, mark, POLICY_SEVERITY_WARNING, code, hint, "%s", message);
}

/* Whether jsonb would call them equal. */
static bool
same_value(Lint *lint, const PolicyNode *a, const PolicyNode *b)
{
	MemoryContext caller;
	bool		same;

	if (a == b)
		return true;
	caller = MemoryContextSwitchTo(lint->scratch);
	same = constraint_equal(constraint_from_node(a, NULL), constraint_from_node(b, NULL));
	MemoryContextSwitchTo(caller);
	MemoryContextReset(lint->scratch);
	return same;
}

static bool
is_boolean(PolicyScalarType type)
{
	return type == POLICY_SCALAR_TRUE || type == POLICY_SCALAR_FALSE;
}

/* Whether the engine knows which of two values is the tighter. */
static bool
has_order(const PolicyPair *pair, const PolicyNode *other)
{
	PolicyConstraintKey key = policy_constraint_key(pair->key->u.scalar.text,
													pair->key->u.scalar.len);
	PolicyScalarType type;

	if (pair->value->kind != other->kind)
		return false;
	if (pair->value->kind == POLICY_NODE_MAPPING)
		return true;			/* merged key by key */
	if (pair->value->kind == POLICY_NODE_SEQUENCE)
		return key.sense != POLICY_KEY_OTHER;
	type = policy_scalar_type(pair->value);
	if (type == POLICY_SCALAR_NUMBER && policy_scalar_type(other) == type)
		return key.bound != POLICY_BOUND_NONE;
	return is_boolean(type) && is_boolean(policy_scalar_type(other));
}

static void
report_conflict(Lint *lint, const PolicyRule *rule, const PolicyPair *pair, const Setting *setting)
{
	policy_diagnose(lint->diags, pair->key->mark, POLICY_SEVERITY_WARNING,
					"constraint_conflict",
					"Where both rules apply the stricter one's value holds. Begin the name with max or min, or use allow or deny lists, so that the tighter one does.",
					"rules \"%s\" and \"%s\" set constraint \"%s\" differently",
					setting->rule->id, rule->id,
					policy_excerpt(pair->key->u.scalar.text, pair->key->u.scalar.len));
}

static void
lint_constraints(Lint *lint, const PolicyRule *rule, const PolicyNode *object, const char *place)
{
	for (int i = 0; i < object->u.mapping.count; i++)
	{
		const PolicyPair *pair = &object->u.mapping.pairs[i];
		char	   *here = psprintf("%s%d:%s", place, pair->key->u.scalar.len,
									pair->key->u.scalar.text);
		PolicyNameEntry *entry;
		Setting    *setting;

		CHECK_FOR_INTERRUPTS();
		if (pair->value->kind == POLICY_NODE_MAPPING)
			lint_constraints(lint, rule, pair->value, here);
		entry = policy_name_table_find(&lint->settings, here, (int) strlen(here));
		if (entry == NULL)
		{
			setting = palloc0(sizeof(Setting));
			setting->rule = rule;
			setting->value = pair->value;
			policy_name_table_put(&lint->settings, here, (int) strlen(here), setting);
			continue;
		}
		setting = entry->value;
		if (setting->reported || has_order(pair, setting->value) ||
			same_value(lint, setting->value, pair->value))
			continue;
		report_conflict(lint, rule, pair, setting);
		setting->reported = true;
	}
}

static void
lint_times(Lint *lint, const PolicyRule *rule, TimestampTz now)
{
	if (rule->not_before >= rule->expires_at)
		warn(lint->diags, rule->mark, "never_valid",
			 "Let not_before come before expires_at.",
			 psprintf("rule \"%s\" is valid at no time", rule->id));
	else if (rule->expires_at <= now)
		warn(lint->diags, rule->mark, "expired_rule",
			 "Remove it, or move expires_at.",
			 psprintf("rule \"%s\" has expired", rule->id));
	for (int i = 0; i < rule->nexceptions; i++)
	{
		const PolicyException *exception = &rule->exceptions[i];

		if (exception->expires_at <= now)
			warn(lint->diags, exception->mark, "expired_exception",
				 "Remove it: an expired exception has no effect.",
				 psprintf("exception \"%s\" of rule \"%s\" has expired", exception->id, rule->id));
	}
}

/* What a rule says by itself. */
static void
lint_rule(Lint *lint, const PolicyRule *rule, TimestampTz now)
{
	lint_times(lint, rule, now);
	if (rule->velocity != NULL && rule->retry_after_mark.line > 0)
		warn(lint->diags, rule->retry_after_mark, "unused_retry_after",
			 "Remove it: the wait of a rule with a velocity is when its rate will next admit a request.",
			 psprintf("retry_after_sec of rule \"%s\" has no effect", rule->id));
}

static bool
has_owner(const PolicyRule *rule)
{
	return rule->owner != NULL && rule->owner[0] != '\0';
}

/* Rules that nobody owns; a document that names no owner at all is told once. */
static void
lint_owners(const Policy *policy, PolicyDiagnostics *diags)
{
	static const char *const hint =
	"Write owner: whom to ask about the rule, and who removes it one day.";
	int			owned = 0;

	for (int i = 0; i < policy->nrules; i++)
		owned += has_owner(&policy->rules[i]);
	if (owned == 0 && policy->nrules > 1)
	{
		warn(diags, policy->rules[0].mark, "no_owner", hint,
			 psprintf("none of the %d rules has an owner", policy->nrules));
		return;
	}
	for (int i = 0; i < policy->nrules; i++)
	{
		if (!has_owner(&policy->rules[i]))
			warn(diags, policy->rules[i].mark, "no_owner", hint,
				 psprintf("rule \"%s\" has no owner", policy->rules[i].id));
	}
}

void
policy_lint(const Policy *policy, TimestampTz now, PolicyDiagnostics *diags)
{
	Lint		lint = {.diags = diags};

	lint.scratch = AllocSetContextCreate(CurrentMemoryContext, "lint", ALLOCSET_DEFAULT_SIZES);
	policy_name_table_init(&lint.settings, (uint64) now);
	for (int i = 0; i < policy->nrules; i++)
	{
		const PolicyRule *rule = &policy->rules[i];

		CHECK_FOR_INTERRUPTS();
		lint_rule(&lint, rule, now);
		if (rule->enabled && !rule->monitor && rule->constraints != NULL &&
			rule->decision != POLICY_DENY && !policy->first_match)
			lint_constraints(&lint, rule, rule->constraints, "");
	}
	MemoryContextDelete(lint.scratch);
	policy_lint_rules(policy, now, diags);

	/* Last, since they can be many, and what is kept is not. */
	lint_owners(policy, diags);
	policy_diagnostics_sort(diags);
}
