/*
 * check_match.c
 *	  Checks of a match: lists of patterns, labels, `when`.
 */
#include "postgres.h"

#include "language/check.h"
#include "language/normalize.h"

const char *const policy_match_keys[POLICY_NFIELDS] = {
	"tenants", "topics", "capabilities", "pack_ids", "actor_ids", "actor_types",
	"mcp.servers", "mcp.tools", "mcp.resources", "mcp.actions",
	"actor_roles", "risk_tags", "requires"
};

static void
add_pattern(Check *check, const PolicyNode *node, const char *name, PolicyPatternList *list)
{
	const char *text = check_string(check, node, name);
	PolicyPattern *pattern;

	if (text == NULL)
		return;
	pattern = policy_pattern_parse(text, node->u.scalar.len, node->mark, check->diags);
	if (pattern != NULL)
		list->items[list->count++] = pattern;
}

static void
set_patterns(Check *check, const PolicyNode *node, const char *name, PolicyPatternList *list)
{
	if (!check_is_sequence(check, node, name))
		return;
	list->items = palloc(sizeof(PolicyPattern *) * Max(node->u.sequence.count, 1));
	list->count = 0;
	for (int i = 0; i < node->u.sequence.count; i++)
		add_pattern(check, node->u.sequence.items[i], name, list);
}

static void
set_any(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_patterns(check, node, name, &((PolicyCondition *) target)->any);
}

static void
set_all(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_patterns(check, node, name, &((PolicyCondition *) target)->all);
}

static void
set_none(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_patterns(check, node, name, &((PolicyCondition *) target)->none);
}

/* A plain list, which means `all` for tags and requires, or any/all/none. */
static void
set_condition(Check *check, const PolicyNode *node, const char *name, bool list_means_all,
			  PolicyCondition *condition)
{
	static const CheckKey keys[] = {
		{"any", false, set_any},
		{"all", false, set_all},
		{"none", false, set_none},
	};

	if (node->kind == POLICY_NODE_MAPPING)
		check_mapping(check, node, name, keys, lengthof(keys), condition);
	else if (node->kind == POLICY_NODE_SCALAR)
		check_error(check, node, "wrong_type",
					psprintf("Write a list, as in %s: [a, b], or a mapping of any, all and none.", name),
					"%s must be a list or a mapping of lists, but is a single value", name);
	else
		set_patterns(check, node, name, list_means_all ? &condition->all : &condition->any);
}

static PolicyField
field_of_key(const char *prefix, const char *name)
{
	char		key[64];

	snprintf(key, sizeof(key), "%s%s", prefix, name);
	for (int i = 0; i < POLICY_NFIELDS; i++)
	{
		if (strcmp(policy_match_keys[i], key) == 0)
			return i;
	}
	elog(ERROR, "no field has the match key \"%s\"", key);
	return POLICY_FIELD_TOPIC;
}

static void
set_field(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyField field = field_of_key("", name);

	set_condition(check, node, name,
				  field == POLICY_FIELD_RISK_TAGS || field == POLICY_FIELD_REQUIRES,
				  &((PolicyMatch *) target)->fields[field]);
}

static void
set_mcp_field(Check *check, const PolicyNode *node, const char *name, void *target)
{
	set_condition(check, node, name, false,
				  &((PolicyMatch *) target)->fields[field_of_key("mcp.", name)]);
}

static void
set_mcp(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"servers", false, set_mcp_field},
		{"tools", false, set_mcp_field},
		{"resources", false, set_mcp_field},
		{"actions", false, set_mcp_field},
	};

	check_mapping(check, node, name, keys, lengthof(keys), target);
}

/* A label's value: a pattern, a list of them, or any/all/none. */
static void
set_label(Check *check, const PolicyPair *pair, PolicyLabelCondition *label)
{
	const PolicyNode *key = pair->key;

	label->mark = key->mark;
	label->source = key->u.scalar.text;
	label->sourcelen = key->u.scalar.len;
	if (!policy_normalize(key->u.scalar.text, key->u.scalar.len, POLICY_TRIM,
						  &label->name, &label->namelen) || label->namelen == 0)
		check_error(check, key, "bad_value", "Name the label.",
					"bad label name \"%s\"",
					policy_excerpt(key->u.scalar.text, key->u.scalar.len));
	if (pair->value->kind == POLICY_NODE_SCALAR)
	{
		label->condition.any.items = palloc(sizeof(PolicyPattern *));
		add_pattern(check, pair->value, "a label", &label->condition.any);
	}
	else
		set_condition(check, pair->value, "a label", false, &label->condition);
}

static int
compare_labels(const void *a, const void *b)
{
	const PolicyLabelCondition *left = *(PolicyLabelCondition *const *) a;
	const PolicyLabelCondition *right = *(PolicyLabelCondition *const *) b;
	int			order = memcmp(left->name, right->name, Min(left->namelen, right->namelen));

	if (order == 0)
		order = left->namelen - right->namelen;
	return order != 0 ? order : (left < right ? -1 : 1);
}

static void
check_label_names(Check *check, const PolicyMatch *match)
{
	PolicyLabelCondition **sorted = palloc(sizeof(PolicyLabelCondition *) * (match->nlabels + 1));
	int			count = 0;

	for (int i = 0; i < match->nlabels; i++)
	{
		if (match->labels[i].namelen > 0)
			sorted[count++] = &match->labels[i];
	}
	qsort(sorted, count, sizeof(PolicyLabelCondition *), compare_labels);
	for (int i = 1; i < count; i++)
	{
		if (sorted[i]->namelen == sorted[i - 1]->namelen &&
			memcmp(sorted[i]->name, sorted[i - 1]->name, sorted[i]->namelen) == 0)
			policy_diagnose(check->diags, sorted[i]->mark, POLICY_SEVERITY_ERROR, "duplicate_key",
							"Write the label once, with one list.",
							"label \"%s\" is there in two spellings, first at %d:%d",
							policy_excerpt(sorted[i]->source, sorted[i]->sourcelen),
							sorted[i - 1]->mark.line, sorted[i - 1]->mark.column);
	}
}

static void
set_labels(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyMatch *match = target;

	if (!check_is_mapping(check, node, name))
		return;
	match->nlabels = node->u.mapping.count;
	match->labels = palloc0(sizeof(PolicyLabelCondition) * Max(match->nlabels, 1));
	for (int i = 0; i < match->nlabels; i++)
		set_label(check, &node->u.mapping.pairs[i], &match->labels[i]);
	check_label_names(check, match);
}

static void
set_secrets_present(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyMatch *match = target;

	match->has_secrets_present = true;
	check_boolean(check, node, name, &match->secrets_present);
}

static void
set_when(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyMatch *match = target;
	const char *text = check_string(check, node, name);

	match->when_mark = node->mark;
	if (text != NULL)
		match->when = policy_predicate_parse(text, node->u.scalar.len, node->mark,
											 &match->lax, &check->reads, &match->null_places,
											 check->diags);
}

void
check_match(Check *check, const PolicyNode *node, const char *name, void *match)
{
	static const CheckKey keys[] = {
		{"tenants", false, set_field},
		{"topics", false, set_field},
		{"capabilities", false, set_field},
		{"pack_ids", false, set_field},
		{"actor_ids", false, set_field},
		{"actor_types", false, set_field},
		{"actor_roles", false, set_field},
		{"risk_tags", false, set_field},
		{"requires", false, set_field},
		{"labels", false, set_labels},
		{"mcp", false, set_mcp},
		{"secrets_present", false, set_secrets_present},
		{"when", false, set_when},
	};

	check_mapping(check, node, name, keys, lengthof(keys), match);
}
