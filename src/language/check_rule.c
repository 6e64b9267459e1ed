/*
 * check_rule.c
 *	  Checks of rules: their keys, and the blocks that hang on a decision.
 */
#include "postgres.h"

#include "language/check.h"
#include "language/normalize.h"

#define MAX_WINDOW_SECONDS 86400
#define MAX_EXPIRES_IN_SEC 31536000
#define DEFAULT_EXPIRES_IN_SEC 86400
#define MAX_APPROVALS 100

const PolicyApproval policy_default_approval = {
	.min_approvals = 1,
	.expires_in_sec = DEFAULT_EXPIRES_IN_SEC
};

/* A rule on the way, with what must be seen together. */
typedef struct RuleCheck
{
	PolicyRule *rule;
	const PolicyNode *decision; /* where it stands; NULL for none, or a bad
								 * one */
	const PolicyNode *approval;
	const PolicyNode *retry_after_sec;
} RuleCheck;

static void
set_integer(Check *check, const PolicyNode *node, const char *name, int low, int high, int *result)
{
	int64		value = *result;

	check_integer(check, node, name, low, high, &value);
	*result = (int) value;
}

/* Velocity */

static void
set_max_requests(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_integer(check, node, name, 1, PG_INT64_MAX, &((PolicyVelocity *) target)->max_requests);
}

static void
set_window_seconds(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_integer(check, node, name, 1, MAX_WINDOW_SECONDS, &((PolicyVelocity *) target)->window_seconds);
}

static bool
set_key_part(Check *check, const PolicyNode *node, const char *part, int len, PolicyKeyPart *result)
{
	static const char *const names[] = {
		"tenant", "topic", "capability", "pack_id", "actor_id", "actor_type"
	};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if ((int) strlen(names[i]) == len && memcmp(names[i], part, len) == 0)
		{
			result->kind = i;
			return true;
		}
	}
	result->kind = POLICY_KEYPART_LABEL;
	if (len > (int) strlen("labels.") && memcmp(part, "labels.", strlen("labels.")) == 0 &&
		policy_normalize(part + strlen("labels."), len - (int) strlen("labels."), POLICY_TRIM,
						 &result->label, &result->labellen) && result->labellen > 0)
		return true;
	check_error(check, node, "bad_value",
				"Join tenant, topic, capability, pack_id, actor_id, actor_type and labels.<name> with \":\".",
				"unknown part of a velocity key: \"%s\"", policy_excerpt(part, len));
	return false;
}

static void
set_velocity_key(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyVelocity *velocity = target;
	const char *text = check_string(check, node, name);
	int			count = 1;

	if (text == NULL)
		return;
	for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':'))
		count++;
	velocity->parts = palloc0(sizeof(PolicyKeyPart) * count);
	for (;;)
	{
		int			len = (int) strcspn(text, ":");

		if (!set_key_part(check, node, text, len, &velocity->parts[velocity->nparts++]) ||
			text[len] == '\0')
			return;
		text += len + 1;
	}
}

static void
set_velocity(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"max_requests", true, set_max_requests},
		{"window_seconds", true, set_window_seconds},
		{"key", true, set_velocity_key},
	};
	PolicyRule *rule = ((RuleCheck *) target)->rule;

	rule->velocity = palloc0(sizeof(PolicyVelocity));
	check_mapping(check, node, name, keys, lengthof(keys), rule->velocity);
}

/* Approval */

static void
set_approvers(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyApproval *approval = target;

	if (!check_is_sequence(check, node, name))
		return;
	approval->approvers = palloc(sizeof(char *) * Max(node->u.sequence.count, 1));
	approval->approver_marks = palloc(sizeof(PolicyMark) * Max(node->u.sequence.count, 1));
	for (int i = 0; i < node->u.sequence.count; i++)
	{
		const PolicyNode *item = node->u.sequence.items[i];
		const char *role = check_string(check, item, name);

		if (role == NULL)
			continue;
		if (*role == '\0')
			check_error(check, item, "bad_value", "Name a role.", "an approver's name is empty");
		approval->approver_marks[approval->napprovers] = item->mark;
		approval->approvers[approval->napprovers++] = role;
	}
}

static void
set_min_approvals(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_integer(check, node, name, 1, MAX_APPROVALS, &((PolicyApproval *) target)->min_approvals);
}

static void
set_expires_in_sec(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_integer(check, node, name, 1, MAX_EXPIRES_IN_SEC, &((PolicyApproval *) target)->expires_in_sec);
}

static void
set_allow_self(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_boolean(check, node, name, &((PolicyApproval *) target)->allow_self);
}

static void
set_immaterial(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyPathList *paths = &((PolicyApproval *) target)->immaterial;

	check_paths(check, node, name, paths);
	for (int i = 0; i < paths->count; i++)
	{
		const PolicyPath *path = &paths->items[i];

		if (path->nsteps < 2 || path->steps[0].kind != POLICY_STEP_KEY ||
			path->steps[0].keylen != (int) strlen("payload") ||
			memcmp(path->steps[0].key, "payload", strlen("payload")) != 0)
			policy_diagnose(check->diags, path->mark, POLICY_SEVERITY_ERROR, "bad_path",
							"Only parts of the payload can be immaterial, as in $.payload.trace_id.",
							"immaterial path \"%s\" is not below $.payload",
							policy_excerpt(path->source, (int) strlen(path->source)));
	}
}

static void
set_approval(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"approvers", false, set_approvers},
		{"min_approvals", false, set_min_approvals},
		{"expires_in_sec", false, set_expires_in_sec},
		{"allow_self", false, set_allow_self},
		{"immaterial", false, set_immaterial},
	};
	RuleCheck  *rule = target;

	rule->approval = node;
	check_mapping(check, node, name, keys, lengthof(keys), rule->rule->approval);
}

/* Exceptions */

static void
set_exception_id(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyException *) target)->mark = node->mark;
	((PolicyException *) target)->id = check_id(check, node, name);
}

static void
set_exception_match(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_match(check, node, name, &((PolicyException *) target)->match);
}

static void
set_exception_expires_at(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check->has_times = true;
	check_timestamp(check, node, name, &((PolicyException *) target)->expires_at);
}

static void
set_exception_reason(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyException *) target)->reason = check_string(check, node, name);
}

static void
set_exception_ticket(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyException *) target)->ticket = check_string(check, node, name);
}

static void
set_exceptions(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"id", true, set_exception_id},
		{"match", true, set_exception_match},
		{"expires_at", true, set_exception_expires_at},
		{"reason", true, set_exception_reason},
		{"ticket", false, set_exception_ticket},
	};
	PolicyRule *rule = ((RuleCheck *) target)->rule;
	CheckedId  *ids;

	if (!check_is_sequence(check, node, name))
		return;
	rule->nexceptions = node->u.sequence.count;
	rule->exceptions = palloc0(sizeof(PolicyException) * Max(rule->nexceptions, 1));
	ids = palloc0(sizeof(CheckedId) * Max(rule->nexceptions, 1));
	for (int i = 0; i < rule->nexceptions; i++)
	{
		rule->exceptions[i].mark = node->u.sequence.items[i]->mark;
		check_mapping(check, node->u.sequence.items[i], "an exception", keys, lengthof(keys),
					  &rule->exceptions[i]);
		ids[i].id = rule->exceptions[i].id;
		ids[i].mark = rule->exceptions[i].mark;
	}
	check_unique_ids(check, ids, rule->nexceptions, "exception id");
}

/* Remediations */

static void
set_remediation_id(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyRemediation *) target)->mark = node->mark;
	((PolicyRemediation *) target)->id = check_id(check, node, name);
}

static void
set_title(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyRemediation *) target)->title = check_string(check, node, name);
}

static void
set_summary(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyRemediation *) target)->summary = check_string(check, node, name);
}

static void
set_replacement_topic(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyRemediation *) target)->replacement_topic = check_string(check, node, name);
}

static void
set_replacement_capability(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyRemediation *) target)->replacement_capability = check_string(check, node, name);
}

static void
set_add_labels(Check *check, const PolicyNode *node, const char *name, void *target)
{
	if (!check_is_mapping(check, node, name))
		return;
	for (int i = 0; i < node->u.mapping.count; i++)
		check_string(check, node->u.mapping.pairs[i].value, "a label");
	((PolicyRemediation *) target)->add_labels = unconstify(PolicyNode *, node);
}

static void
set_remove_labels(Check *check, const PolicyNode *node, const char *name, void *target)
{
	if (!check_is_sequence(check, node, name))
		return;
	for (int i = 0; i < node->u.sequence.count; i++)
		check_string(check, node->u.sequence.items[i], "a label");
	((PolicyRemediation *) target)->remove_labels = unconstify(PolicyNode *, node);
}

static void
set_remediations(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"id", true, set_remediation_id},
		{"title", false, set_title},
		{"summary", false, set_summary},
		{"replacement_topic", false, set_replacement_topic},
		{"replacement_capability", false, set_replacement_capability},
		{"add_labels", false, set_add_labels},
		{"remove_labels", false, set_remove_labels},
	};
	PolicyRule *rule = ((RuleCheck *) target)->rule;
	CheckedId  *ids;

	if (!check_is_sequence(check, node, name))
		return;
	rule->nremediations = node->u.sequence.count;
	rule->remediations = palloc0(sizeof(PolicyRemediation) * Max(rule->nremediations, 1));
	ids = palloc0(sizeof(CheckedId) * Max(rule->nremediations, 1));
	for (int i = 0; i < rule->nremediations; i++)
	{
		rule->remediations[i].mark = node->u.sequence.items[i]->mark;
		check_mapping(check, node->u.sequence.items[i], "a remediation", keys, lengthof(keys),
					  &rule->remediations[i]);
		ids[i].id = rule->remediations[i].id;
		ids[i].mark = rule->remediations[i].mark;
	}
	check_unique_ids(check, ids, rule->nremediations, "remediation id");
}

/* Rules */

static void
set_id(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyRule *rule = ((RuleCheck *) target)->rule;

	rule->mark = node->mark;
	rule->id = check_id(check, node, name);
}

static void
set_description(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((RuleCheck *) target)->rule->description = check_string(check, node, name);
}

static void
set_owner(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((RuleCheck *) target)->rule->owner = check_string(check, node, name);
}

static void
set_enabled(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_boolean(check, node, name, &((RuleCheck *) target)->rule->enabled);
}

static void
set_not_before(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check->has_times = true;
	check_timestamp(check, node, name, &((RuleCheck *) target)->rule->not_before);
}

static void
set_expires_at(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check->has_times = true;
	check_timestamp(check, node, name, &((RuleCheck *) target)->rule->expires_at);
}

static void
set_match(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_match(check, node, name, &((RuleCheck *) target)->rule->match);
}

static void
set_decision(Check *check, const PolicyNode *node, const char *name, void *target)
{
	RuleCheck  *rule = target;

	if (check_decision(check, node, name, &rule->rule->decision))
		rule->decision = node;
}

static void
set_reason(Check *check, const PolicyNode *node, const char *name, void *target)
{
	const char *text = check_string(check, node, name);

	if (text != NULL && *text != '\0')
		((RuleCheck *) target)->rule->reason = text;
}

static void
set_constraints(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_constraints(check, node, name, &((RuleCheck *) target)->rule->constraints);
}

static void
set_retry_after_sec(Check *check, const PolicyNode *node, const char *name, void *target)
{
	RuleCheck  *rule = target;

	rule->retry_after_sec = node;
	rule->rule->retry_after_mark = node->mark;
	set_integer(check, node, name, 1, MAX_WINDOW_SECONDS, &rule->rule->retry_after_sec);
}

static void
set_mode(Check *check, const PolicyNode *node, const char *name, void *target)
{
	const char *text = check_string(check, node, name);

	if (text == NULL)
		return;
	((RuleCheck *) target)->rule->monitor = strcmp(text, "monitor") == 0;
	if (strcmp(text, "monitor") != 0 && strcmp(text, "enforce") != 0)
		check_error(check, node, "bad_value", "Write enforce or monitor.",
					"unknown mode \"%s\"", policy_excerpt(text, node->u.scalar.len));
}

/* What the decision asks of the rule's other keys. */
static void
check_decision_keys(Check *check, RuleCheck *checked)
{
	PolicyRule *rule = checked->rule;
	bool		constrained = rule->constraints != NULL && rule->constraints->u.mapping.count > 0;

	if (checked->decision == NULL)
		return;
	if (rule->decision == POLICY_ALLOW && constrained)
		rule->decision = POLICY_ALLOW_WITH_CONSTRAINTS;
	else if (rule->decision == POLICY_ALLOW_WITH_CONSTRAINTS && !constrained)
		check_error(check, rule->constraints ? rule->constraints : checked->decision, "empty_constraints",
					"Name a bound, or write decision: allow.",
					"allow_with_constraints needs constraints");
	if (checked->approval != NULL && rule->decision != POLICY_REQUIRE_APPROVAL)
		check_error(check, checked->approval, "misplaced_key",
					"Write decision: require_approval, or leave approval out.",
					"approval on a rule that is not require_approval");
	if (checked->retry_after_sec != NULL && rule->decision != POLICY_THROTTLE)
		check_error(check, checked->retry_after_sec, "misplaced_key",
					"Write decision: throttle, or leave retry_after_sec out.",
					"retry_after_sec on a rule that is not throttle");
	if (rule->decision != POLICY_REQUIRE_APPROVAL)
		rule->approval = NULL;
}

static void
check_rule(Check *check, const PolicyNode *node, PolicyRule *rule)
{
	static const CheckKey keys[] = {
		{"id", true, set_id},
		{"description", false, set_description},
		{"owner", false, set_owner},
		{"enabled", false, set_enabled},
		{"not_before", false, set_not_before},
		{"expires_at", false, set_expires_at},
		{"match", false, set_match},
		{"decision", true, set_decision},
		{"reason", false, set_reason},
		{"constraints", false, set_constraints},
		{"velocity", false, set_velocity},
		{"retry_after_sec", false, set_retry_after_sec},
		{"approval", false, set_approval},
		{"exceptions", false, set_exceptions},
		{"remediations", false, set_remediations},
		{"mode", false, set_mode},
	};
	RuleCheck	checked = {.rule = rule};

	rule->mark = node->mark;
	rule->enabled = true;
	rule->not_before = DT_NOBEGIN;
	rule->expires_at = DT_NOEND;
	rule->retry_after_sec = POLICY_DEFAULT_RETRY_AFTER_SEC;
	rule->approval = palloc(sizeof(PolicyApproval));
	*rule->approval = policy_default_approval;
	if (check_mapping(check, node, "a rule", keys, lengthof(keys), &checked))
		check_decision_keys(check, &checked);
}

void
check_rules(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;
	CheckedId  *ids;

	if (!check_is_sequence(check, node, name))
		return;
	policy->nrules = node->u.sequence.count;
	policy->rules = MemoryContextAllocHuge(CurrentMemoryContext,
										   sizeof(PolicyRule) * Max(policy->nrules, 1));
	memset(policy->rules, 0, sizeof(PolicyRule) * policy->nrules);
	ids = MemoryContextAllocHuge(CurrentMemoryContext,
								 sizeof(CheckedId) * Max(policy->nrules, 1));
	for (int i = 0; i < policy->nrules; i++)
	{
		check_rule(check, node->u.sequence.items[i], &policy->rules[i]);
		ids[i].id = policy->rules[i].id;
		ids[i].mark = policy->rules[i].mark;
	}
	check_unique_ids(check, ids, policy->nrules, "rule id");
}
