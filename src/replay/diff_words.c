/*
 * diff_words.c
 *	  What differs between two rules, or two documents' parts, in words.
 */
#include "postgres.h"

#include "replay/diff.h"

#define MAX_WORD_CHARS 80
#define MAX_VALUE_CHARS 200
#define MAX_LISTED 8

/* ---- lists ---- */

/* Appends to a list of which no more than MAX_LISTED are shown. */
static void
list_word(StringInfo list, int *count, const char *item)
{
	(*count)++;
	if (*count <= MAX_LISTED)
		appendStringInfo(list, "%s%s", *count > 1 ? ", " : "", item);
}

static void
end_list(StringInfo list, int count)
{
	if (count > MAX_LISTED)
		appendStringInfo(list, " and %d more", count - MAX_LISTED);
}

/* ---- matches ---- */

static bool
same_token(const PolicyPatternToken *a, const PolicyPatternToken *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == POLICY_TOKEN_LITERAL)
		return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
	if (a->kind != POLICY_TOKEN_CLASS)
		return true;
	return a->negated == b->negated && a->nranges == b->nranges &&
		memcmp(a->ranges, b->ranges, sizeof(PolicyCharRange) * a->nranges) == 0;
}

static bool
has_pattern(const PolicyPatternList *list, int count, const PolicyPattern *pattern)
{
	for (int i = 0; i < count; i++)
	{
		const PolicyPattern *item = list->items[i];
		bool		same = item->ntokens == pattern->ntokens;

		for (int j = 0; same && j < pattern->ntokens; j++)
			same = same_token(&item->tokens[j], &pattern->tokens[j]);
		if (same)
			return true;
	}
	return false;
}

/* What of a list is not in another, each once; the count. */
static int
list_patterns(StringInfo out, const PolicyPatternList *list, const PolicyPatternList *other)
{
	int			count = 0;

	for (int i = 0; i < list->count; i++)
	{
		if (!has_pattern(other, other->count, list->items[i]) &&
			!has_pattern(list, i, list->items[i]))
			list_word(out, &count, diff_word(list->items[i]->source));
	}
	end_list(out, count);
	return count;
}

static void
add_list(StringInfo out, const char *name, const char *kind, const PolicyPatternList *from,
		 const PolicyPatternList *to)
{
	StringInfoData added;
	StringInfoData removed;
	int			nadded;
	int			nremoved;

	initStringInfo(&added);
	initStringInfo(&removed);
	nadded = list_patterns(&added, to, from);
	nremoved = list_patterns(&removed, from, to);
	if (nadded > 0)
		diff_add_part(out, "%s%s: %s%s", name, kind, from->count > 0 ? "also " : "", added.data);
	if (nremoved > 0)
		diff_add_part(out, "%s%s: no longer %s", name, kind, removed.data);
}

/* all: what a plain list means here. */
static void
add_condition(StringInfo out, const char *name, bool all, const PolicyCondition *from,
			  const PolicyCondition *to)
{
	add_list(out, name, all ? " (any)" : "", &from->any, &to->any);
	add_list(out, name, all ? "" : " (all)", &from->all, &to->all);
	add_list(out, name, " (none)", &from->none, &to->none);
}

/* Whether two matches with one condition each hold for the same jobs. */
static bool
same_alone(Diff *diff, const PolicyMatch *from, const PolicyMatch *to)
{
	return diff_same_match(diff, from, policy_shape(diff->search.shapes, from), to, policy_shape(diff->search.shapes, to));
}

static void
add_field(StringInfo out, Diff *diff, const char *prefix, PolicyField field,
		  const PolicyMatch *from, const PolicyMatch *to)
{
	PolicyMatch from_alone = {0};
	PolicyMatch to_alone = {0};

	from_alone.fields[field] = from->fields[field];
	to_alone.fields[field] = to->fields[field];
	if (!same_alone(diff, &from_alone, &to_alone))
		add_condition(out, psprintf("%s%s", prefix, policy_match_keys[field]),
					  field == POLICY_FIELD_RISK_TAGS || field == POLICY_FIELD_REQUIRES,
					  &from->fields[field], &to->fields[field]);
}

static PolicyLabelCondition *
find_label(const PolicyMatch *match, const PolicyLabelCondition *label)
{
	for (int i = 0; i < match->nlabels; i++)
	{
		PolicyLabelCondition *found = &match->labels[i];

		if (found->namelen == label->namelen &&
			memcmp(found->name, label->name, label->namelen) == 0)
			return found;
	}
	return NULL;
}

static bool
asks_presence(const PolicyLabelCondition *label)
{
	return label->condition.any.count + label->condition.all.count +
		label->condition.none.count == 0;
}

static void
add_label(StringInfo out, Diff *diff, const char *prefix, const PolicyLabelCondition *label,
		  PolicyLabelCondition *from, PolicyLabelCondition *to)
{
	static const PolicyCondition nothing;
	char	   *name = psprintf("%slabels.%s", prefix, policy_shown(label->name, label->namelen, MAX_WORD_CHARS));
	PolicyMatch from_alone = {.labels = from, .nlabels = from != NULL ? 1 : 0};
	PolicyMatch to_alone = {.labels = to, .nlabels = to != NULL ? 1 : 0};

	if (same_alone(diff, &from_alone, &to_alone))
		return;
	if (from != NULL && asks_presence(from))
		diff_add_part(out, "%s: no longer any value", name);
	if (to != NULL && asks_presence(to))
		diff_add_part(out, "%s: any value", name);
	add_condition(out, name, false, from != NULL ? &from->condition : &nothing,
				  to != NULL ? &to->condition : &nothing);
}

static const char *
secrets_word(const PolicyMatch *match)
{
	return !match->has_secrets_present ? NULL : match->secrets_present ? "true" : "false";
}

static void
add_match(StringInfo out, Diff *diff, const char *prefix, const PolicyMatch *from,
		  const PolicyMatch *to)
{
	for (int i = 0; i < POLICY_NFIELDS; i++)
		add_field(out, diff, prefix, i, from, to);
	for (int i = 0; i < from->nlabels; i++)
		add_label(out, diff, prefix, &from->labels[i], &from->labels[i],
				  find_label(to, &from->labels[i]));
	for (int i = 0; i < to->nlabels; i++)
	{
		if (find_label(from, &to->labels[i]) == NULL)
			add_label(out, diff, prefix, &to->labels[i], NULL, &to->labels[i]);
	}
	diff_add_change(out, psprintf("%ssecrets_present", prefix), secrets_word(from), secrets_word(to));
	diff_add_change(out, psprintf("%swhen", prefix),
					from->when != NULL ? psprintf("\"%s\"", policy_shown(from->when, strlen(from->when), MAX_VALUE_CHARS)) : NULL,
					to->when != NULL ? psprintf("\"%s\"", policy_shown(to->when, strlen(to->when), MAX_VALUE_CHARS)) : NULL);
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
diff_same_match(Diff *diff, const PolicyMatch *a, const PolicyShape *a_shape,
				const PolicyMatch *b, const PolicyShape *b_shape)
{
	return same_text(a->when, b->when) &&
		policy_find_job(&a_shape, 1, &b_shape, 1, &diff->search.work, NULL) == POLICY_IMPOSSIBLE &&
		policy_find_job(&b_shape, 1, &a_shape, 1, &diff->search.work, NULL) == POLICY_IMPOSSIBLE;
}

/* ---- constraints ---- */

const PolicyConstraint *
diff_constraints(const PolicyRule *rule)
{
	return rule->constraints == NULL || rule->decision == POLICY_DENY ? constraint_empty() :
		constraint_from_node(rule->constraints, NULL);
}

const PolicyConstraint *
diff_default_constraints(const Policy *policy)
{
	return policy->default_constraints == NULL ? constraint_builtin_defaults() :
		constraint_from_node(policy->default_constraints, NULL);
}

const PolicyConstraint *
diff_value(const PolicyConstraint *object, const PolicyConstraintPair *pair)
{
	for (int i = 0; i < object->u.object.count; i++)
	{
		const PolicyConstraintPair *found = &object->u.object.pairs[i];

		if (found->len == pair->len && memcmp(found->name, pair->name, pair->len) == 0)
			return found->value;
	}
	return NULL;
}

/* A constraint's value, without the object around it. */
static char *
value_word(const PolicyConstraintPair *pair, const PolicyConstraint *value)
{
	PolicyConstraintPair named = *pair;
	PolicyConstraint object = {.kind = CONSTRAINT_OBJECT};
	Jsonb	   *json;
	JsonbValue *bare;
	char	   *text;

	if (value == NULL)
		return NULL;
	named.value = value;
	object.u.object.pairs = &named;
	object.u.object.count = 1;
	json = constraint_to_jsonb(&object);
	bare = getKeyJsonValueFromContainer(&json->root, pair->name, pair->len, NULL);
	json = JsonbValueToJsonb(bare);
	text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	return policy_shown(text, strlen(text), MAX_VALUE_CHARS);
}

static void
add_constraints(StringInfo out, const PolicyConstraint *from, const PolicyConstraint *to)
{
	const PolicyConstraint *sides[] = {from, to};

	for (int side = 0; side < 2; side++)
	{
		for (int i = 0; i < sides[side]->u.object.count; i++)
		{
			const PolicyConstraintPair *pair = &sides[side]->u.object.pairs[i];
			const PolicyConstraint *other = diff_value(sides[1 - side], pair);
			char	   *name;

			if (other != NULL && (side == 1 || constraint_equal(pair->value, other)))
				continue;
			name = psprintf("constraints.%s", policy_shown(pair->name, pair->len, MAX_WORD_CHARS));
			diff_add_change(out, name, value_word(pair, diff_value(from, pair)),
							value_word(pair, diff_value(to, pair)));
		}
	}
}

/* ---- velocity and approval ---- */

static bool
same_key_part(const PolicyKeyPart *a, const PolicyKeyPart *b)
{
	return a->kind == b->kind && (a->kind != POLICY_KEYPART_LABEL ||
								  (a->labellen == b->labellen &&
								   memcmp(a->label, b->label, a->labellen) == 0));
}

bool
diff_same_velocity(const PolicyVelocity *a, const PolicyVelocity *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->max_requests != b->max_requests || a->window_seconds != b->window_seconds ||
		a->nparts != b->nparts)
		return false;
	for (int i = 0; i < a->nparts; i++)
	{
		if (!same_key_part(&a->parts[i], &b->parts[i]))
			return false;
	}
	return true;
}

static char *
velocity_words(const PolicyVelocity *velocity)
{
	static const char *const names[] = {
		"tenant", "topic", "capability", "pack_id", "actor_id", "actor_type"
	};
	StringInfoData key;

	if (velocity == NULL)
		return NULL;
	initStringInfo(&key);
	for (int i = 0; i < velocity->nparts; i++)
	{
		const PolicyKeyPart *part = &velocity->parts[i];

		appendStringInfoString(&key, i > 0 ? ":" : "");
		if (part->kind == POLICY_KEYPART_LABEL)
			appendStringInfo(&key, "labels.%s", policy_shown(part->label, part->labellen, MAX_WORD_CHARS));
		else
			appendStringInfoString(&key, names[part->kind]);
	}
	return psprintf("more than " INT64_FORMAT " in %d s by %s", velocity->max_requests,
					velocity->window_seconds, key.data);
}

static bool
same_path(const PolicyPath *a, const PolicyPath *b)
{
	if (a->nsteps != b->nsteps)
		return false;
	for (int i = 0; i < a->nsteps; i++)
	{
		const PolicyStep *left = &a->steps[i];
		const PolicyStep *right = &b->steps[i];

		if (left->kind != right->kind ||
			(left->kind == POLICY_STEP_INDEX && left->index != right->index) ||
			(left->kind == POLICY_STEP_KEY &&
			 (left->keylen != right->keylen || memcmp(left->key, right->key, left->keylen) != 0)))
			return false;
	}
	return true;
}

bool
diff_has_path(const PolicyPathList *list, const PolicyPath *path)
{
	for (int i = 0; i < list->count; i++)
	{
		if (same_path(&list->items[i], path))
			return true;
	}
	return false;
}

static void
add_paths(StringInfo out, const char *name, const PolicyPathList *from, const PolicyPathList *to)
{
	const PolicyPathList *sides[] = {to, from};

	for (int side = 0; side < 2; side++)
	{
		StringInfoData list;
		int			count = 0;

		initStringInfo(&list);
		for (int i = 0; i < sides[side]->count; i++)
		{
			if (!diff_has_path(sides[1 - side], &sides[side]->items[i]))
				list_word(&list, &count, diff_word(sides[side]->items[i].source));
		}
		end_list(&list, count);
		if (count > 0)
			diff_add_part(out, "%s: %s%s", name, side == 1 ? "no longer " : from->count > 0 ? "also " : "", list.data);
	}
}

static bool
has_role(const PolicyApproval *approval, const char *role)
{
	for (int i = 0; i < approval->napprovers; i++)
	{
		if (strcmp(approval->approvers[i], role) == 0)
			return true;
	}
	return false;
}

static void
add_approvers(StringInfo out, const PolicyApproval *from, const PolicyApproval *to)
{
	const PolicyApproval *sides[] = {to, from};

	for (int side = 0; side < 2; side++)
	{
		StringInfoData list;
		int			count = 0;

		initStringInfo(&list);
		for (int i = 0; i < sides[side]->napprovers; i++)
		{
			if (!has_role(sides[1 - side], sides[side]->approvers[i]))
				list_word(&list, &count, diff_word(sides[side]->approvers[i]));
		}
		end_list(&list, count);
		if (count > 0)
			diff_add_part(out, "approvers: %s%s", side == 1 ? "no longer " : from->napprovers > 0 ? "also " : "", list.data);
	}
}

static void
add_approval(StringInfo out, const PolicyApproval *from, const PolicyApproval *to)
{
	if (to == NULL)
		return;
	if (from == NULL)
		from = &policy_default_approval;
	add_approvers(out, from, to);
	diff_add_number(out, "min_approvals", from->min_approvals, to->min_approvals);
	diff_add_number(out, "expires_in_sec", from->expires_in_sec, to->expires_in_sec);
	diff_add_change(out, "allow_self", from->allow_self ? "true" : "false", to->allow_self ? "true" : "false");
	add_paths(out, "immaterial", &from->immaterial, &to->immaterial);
}

/* ---- exceptions and remediations ---- */

bool
diff_same_exception(Diff *diff, const DiffRule *a, int a_index, const DiffRule *b, int b_index)
{
	const PolicyException *left = &a->lint.rule->exceptions[a_index];
	const PolicyException *right = &b->lint.rule->exceptions[b_index];

	if (a->lint.exceptions[a_index] == NULL || b->lint.exceptions[b_index] == NULL)
		return a->lint.exceptions[a_index] == b->lint.exceptions[b_index];
	return left->expires_at == right->expires_at &&
		diff_same_match(diff, &left->match, a->lint.exceptions[a_index], &right->match,
						b->lint.exceptions[b_index]);
}

static const PolicyException *
find_exception(const PolicyRule *rule, const char *id)
{
	for (int i = 0; i < rule->nexceptions; i++)
	{
		if (strcmp(rule->exceptions[i].id, id) == 0)
			return &rule->exceptions[i];
	}
	return NULL;
}

static void
add_exception(StringInfo out, Diff *diff, const char *id, const PolicyException *from,
			  const PolicyException *to)
{
	char	   *prefix = psprintf("exception %s: ", id);

	if (to == NULL)
	{
		diff_add_part(out, "exception %s is gone", id);
		return;
	}
	if (from == NULL)
	{
		static const PolicyException nothing = {.reason = "", .expires_at = DT_NOEND};

		diff_add_part(out, "exception %s, until %s", id, diff_time_word(to->expires_at));
		add_match(out, diff, prefix, &nothing.match, &to->match);
		return;
	}
	add_match(out, diff, prefix, &from->match, &to->match);
	diff_add_change(out, psprintf("%sexpires_at", prefix), diff_time_word(from->expires_at), diff_time_word(to->expires_at));
	diff_add_text(out, psprintf("%sreason", prefix), from->reason, to->reason);
	diff_add_text(out, psprintf("%sticket", prefix), from->ticket, to->ticket);
}

/* What a mapping has under a key, or NULL. */
static const PolicyNode *
find_node(const PolicyNode *mapping, const char *key)
{
	for (int i = 0; i < mapping->u.mapping.count; i++)
	{
		if (strcmp(mapping->u.mapping.pairs[i].key->u.scalar.text, key) == 0)
			return mapping->u.mapping.pairs[i].value;
	}
	return NULL;
}

static bool
same_node(const PolicyNode *a, const PolicyNode *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return constraint_equal(constraint_from_node(a, NULL), constraint_from_node(b, NULL));
}

/* The same of what is nothing but strings, in lists or by name. */
static bool
same_strings(const PolicyNode *a, const PolicyNode *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->kind != b->kind)
		return false;
	if (a->kind == POLICY_NODE_SCALAR)
		return strcmp(a->u.scalar.text, b->u.scalar.text) == 0;
	if (a->kind == POLICY_NODE_SEQUENCE)
	{
		for (int i = 0; i < a->u.sequence.count && i < b->u.sequence.count; i++)
		{
			if (!same_strings(a->u.sequence.items[i], b->u.sequence.items[i]))
				return false;
		}
		return a->u.sequence.count == b->u.sequence.count;
	}
	for (int i = 0; i < a->u.mapping.count; i++)
	{
		if (!same_strings(a->u.mapping.pairs[i].value,
						  find_node(b, a->u.mapping.pairs[i].key->u.scalar.text)))
			return false;
	}
	return a->u.mapping.count == b->u.mapping.count;
}

static bool
same_remediation(const PolicyRemediation *a, const PolicyRemediation *b)
{
	return same_text(a->title, b->title) && same_text(a->summary, b->summary) &&
		same_text(a->replacement_topic, b->replacement_topic) &&
		same_text(a->replacement_capability, b->replacement_capability) &&
		same_strings(a->add_labels, b->add_labels) &&
		same_strings(a->remove_labels, b->remove_labels);
}

static const PolicyRemediation *
find_remediation(const PolicyRule *rule, const char *id)
{
	for (int i = 0; i < rule->nremediations; i++)
	{
		if (strcmp(rule->remediations[i].id, id) == 0)
			return &rule->remediations[i];
	}
	return NULL;
}

static void
add_blocks(StringInfo out, Diff *diff, const PolicyRule *from, const PolicyRule *to)
{
	for (int i = 0; i < from->nexceptions; i++)
		add_exception(out, diff, from->exceptions[i].id, &from->exceptions[i],
					  find_exception(to, from->exceptions[i].id));
	for (int i = 0; i < to->nexceptions; i++)
	{
		if (find_exception(from, to->exceptions[i].id) == NULL)
			add_exception(out, diff, to->exceptions[i].id, NULL, &to->exceptions[i]);
	}
	for (int i = 0; i < from->nremediations; i++)
	{
		const PolicyRemediation *other = find_remediation(to, from->remediations[i].id);

		if (other == NULL)
			diff_add_part(out, "remediation %s is gone", from->remediations[i].id);
		else if (!same_remediation(&from->remediations[i], other))
			diff_add_part(out, "remediation %s is another", other->id);
	}
	for (int i = 0; i < to->nremediations; i++)
	{
		if (find_remediation(from, to->remediations[i].id) == NULL)
			diff_add_part(out, "remediation %s", to->remediations[i].id);
	}
}

/* ---- rules ---- */

/* The reason, or NULL where it is the one that stands in for none. */
static const char *
own_reason(const PolicyRule *rule)
{
	if (rule->reason == NULL ||
		(rule->id != NULL && strcmp(rule->reason, psprintf("matched rule %s", rule->id)) == 0))
		return NULL;
	return rule->reason;
}

static const char *
or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* What a rule waits of its own accord. */
static int
own_wait(const PolicyRule *rule)
{
	return rule->decision == POLICY_THROTTLE && rule->velocity == NULL ? rule->retry_after_sec :
		POLICY_DEFAULT_RETRY_AFTER_SEC;
}

static void
add_time(StringInfo out, const char *name, TimestampTz from, TimestampTz to)
{
	if (from != to)
		diff_add_change(out, name, TIMESTAMP_NOT_FINITE(from) ? NULL : diff_time_word(from),
						TIMESTAMP_NOT_FINITE(to) ? NULL : diff_time_word(to));
}

/* Every part but the match, the exceptions and the remediations. */
static void
add_scalars(StringInfo out, const PolicyRule *from, const PolicyRule *to)
{
	diff_add_change(out, "enabled", from->enabled ? "true" : "false", to->enabled ? "true" : "false");
	diff_add_change(out, "mode", from->monitor ? "monitor" : "enforce", to->monitor ? "monitor" : "enforce");
	add_time(out, "not_before", from->not_before, to->not_before);
	add_time(out, "expires_at", from->expires_at, to->expires_at);
}

static void
add_effect(StringInfo out, const PolicyRule *from, const PolicyRule *to)
{
	diff_add_text(out, "reason", own_reason(from), own_reason(to));
	add_constraints(out, diff_constraints(from), diff_constraints(to));
	if (!diff_same_velocity(from->velocity, to->velocity))
		diff_add_change(out, "velocity", velocity_words(from->velocity), velocity_words(to->velocity));
	diff_add_number(out, "retry_after_sec", own_wait(from), own_wait(to));
	add_approval(out, from->approval, to->approval);
}

void
diff_append_rule(StringInfo out, Diff *diff, const DiffRule *from, const DiffRule *to)
{
	static const PolicyRule nothing = {
		.enabled = true, .not_before = DT_NOBEGIN, .expires_at = DT_NOEND,
		.retry_after_sec = POLICY_DEFAULT_RETRY_AFTER_SEC
	};
	const PolicyRule *was = from != NULL ? from->lint.rule : &nothing;
	const PolicyRule *is = to->lint.rule;
	StringInfoData parts;

	initStringInfo(&parts);
	if (from == NULL)
		diff_add_change(&parts, "decision", NULL, policy_decision_labels[is->decision]);
	else
		diff_add_change(&parts, "decision", policy_decision_labels[was->decision],
						policy_decision_labels[is->decision]);
	add_scalars(&parts, was, is);
	add_match(&parts, diff, "", &was->match, &is->match);
	add_effect(&parts, was, is);
	add_blocks(&parts, diff, was, is);
	diff_add_text(&parts, "owner", or_null(was->owner), or_null(is->owner));
	diff_add_text(&parts, "description", or_null(was->description), or_null(is->description));
	appendStringInfoString(out, parts.data);
}

/* ---- the document's parts ---- */

void
diff_append_defaults(StringInfo out, const Policy *from, const Policy *to)
{
	diff_add_change(out, "decision", policy_decision_labels[from->default_decision],
					policy_decision_labels[to->default_decision]);
	diff_add_text(out, "reason", from->default_reason, to->default_reason);
	add_constraints(out, diff_default_constraints(from), diff_default_constraints(to));
}

void
diff_append_masks(StringInfo out, const PolicyPathList *from, const PolicyPathList *to)
{
	add_paths(out, "evidence.mask", from, to);
}

static bool
same_expectation(const char *key, const PolicyNode *a, const PolicyNode *b)
{
	if (b == NULL)
		return false;
	if (strcmp(key, "constraints") == 0)
		return same_node(a, b);
	if (strcmp(key, "decision") == 0)
		return pg_strcasecmp(a->u.scalar.text, b->u.scalar.text) == 0;
	return same_strings(a, b);
}

static bool
same_expectations(const PolicyNode *a, const PolicyNode *b)
{
	for (int i = 0; i < a->u.mapping.count; i++)
	{
		const PolicyPair *pair = &a->u.mapping.pairs[i];

		if (!same_expectation(pair->key->u.scalar.text, pair->value,
							  find_node(b, pair->key->u.scalar.text)))
			return false;
	}
	return a->u.mapping.count == b->u.mapping.count;
}

static bool
same_test(const PolicyTest *a, const PolicyTest *b)
{
	return a->has_at == b->has_at && (!a->has_at || a->at == b->at) && same_node(a->job, b->job) &&
		same_expectations(a->expect, b->expect);
}

/* What a policy makes of a test: 0 has none of its name, 1 another one, 2 has it. */
static int
look_up_test(const Policy *policy, const PolicyTest *test)
{
	int			found = 0;

	for (int i = 0; i < policy->ntests && found < 2; i++)
	{
		if (strcmp(policy->tests[i].name, test->name) == 0)
			found = same_test(&policy->tests[i], test) ? 2 : 1;
	}
	return found;
}

static void
add_tests(StringInfo out, const Policy *from, const Policy *to, bool changed, const char *what)
{
	StringInfoData list;
	int			count = 0;

	initStringInfo(&list);
	for (int i = 0; i < to->ntests; i++)
	{
		if (look_up_test(from, &to->tests[i]) == (changed ? 1 : 0))
			list_word(&list, &count, diff_word(to->tests[i].name));
	}
	end_list(&list, count);
	if (count > 0)
		diff_add_part(out, "tests: %s%s", what, list.data);
}

void
diff_append_tests(StringInfo out, const Policy *from, const Policy *to)
{
	add_tests(out, from, to, false, from->ntests > 0 ? "also " : "");
	add_tests(out, to, from, false, "no longer ");
	add_tests(out, from, to, true, "changed ");
}
