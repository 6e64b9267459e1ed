/*
 * check.c
 *	  From a tree of nodes to a policy: the document, and what all checks share.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"

#include "language/check.h"
#include "language/constraint_key.h"

/* What PostgreSQL's numeric can hold. */
#define MAX_INTEGER_DIGITS 131072
#define MAX_FRACTION_DIGITS 16383

const char *const policy_decision_labels[POLICY_NDECISIONS] = {
	"ALLOW", "ALLOW_WITH_CONSTRAINTS", "THROTTLE", "REQUIRE_APPROVAL", "DENY"
};

static const char *const decision_names[POLICY_NDECISIONS] = {
	"allow", "allow_with_constraints", "throttle", "require_approval", "deny"
};

void
check_error(Check *check, const PolicyNode *node, const char *code,
			const char *hint, const char *fmt,...)
{
	char		message[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	policy_diagnose(check->diags, node->mark, POLICY_SEVERITY_ERROR, code, hint, "%s", message);
}

static const char *
describe(const PolicyNode *node)
{
	switch (node->kind)
	{
		case POLICY_NODE_MAPPING:
			return "a mapping";
		case POLICY_NODE_SEQUENCE:
			return "a list";
		case POLICY_NODE_SCALAR:
			break;
	}
	if (node->u.scalar.plain && node->u.scalar.len == 0)
		return "empty";
	return psprintf("\"%s\"", policy_excerpt(node->u.scalar.text, node->u.scalar.len));
}

bool
check_is_mapping(Check *check, const PolicyNode *node, const char *name)
{
	if (node->kind == POLICY_NODE_MAPPING)
		return true;
	check_error(check, node, "wrong_type", "Write key: value pairs, or leave the key out.",
				"%s must be a mapping, but is %s", name, describe(node));
	return false;
}

bool
check_is_sequence(Check *check, const PolicyNode *node, const char *name)
{
	if (node->kind == POLICY_NODE_SEQUENCE)
		return true;
	check_error(check, node, "wrong_type", "Write a list, as in [a, b], or leave the key out.",
				"%s must be a list, but is %s", name, describe(node));
	return false;
}

const char *
check_string(Check *check, const PolicyNode *node, const char *name)
{
	CHECK_FOR_INTERRUPTS();
	if (node->kind == POLICY_NODE_SCALAR)
		return node->u.scalar.text;
	check_error(check, node, "wrong_type", "Write one value.",
				"%s must be a string, but is %s", name, describe(node));
	return NULL;
}

void
check_boolean(Check *check, const PolicyNode *node, const char *name, bool *result)
{
	PolicyScalarType type = POLICY_SCALAR_STRING;

	if (node->kind == POLICY_NODE_SCALAR)
		type = policy_scalar_type(node);
	if (type == POLICY_SCALAR_TRUE || type == POLICY_SCALAR_FALSE)
		*result = type == POLICY_SCALAR_TRUE;
	else
		check_error(check, node, "wrong_type", "Write true or false, without quotes.",
					"%s must be true or false, but is %s", name, describe(node));
}

void
check_integer(Check *check, const PolicyNode *node, const char *name,
			  int64 low, int64 high, int64 *result)
{
	const char *text = node->kind == POLICY_NODE_SCALAR ? node->u.scalar.text : "";
	const char *digits = text + (*text == '-');
	char	   *hint;
	int64		value;

	if (high == PG_INT64_MAX)
		hint = psprintf("Write a whole number of at least " INT64_FORMAT ".", low);
	else
		hint = psprintf("Write a whole number from " INT64_FORMAT " to " INT64_FORMAT ".", low, high);
	if (node->kind != POLICY_NODE_SCALAR || policy_scalar_type(node) != POLICY_SCALAR_NUMBER ||
		strspn(digits, "0123456789") != strlen(digits))
	{
		check_error(check, node, "wrong_type", hint,
					"%s must be a whole number, but is %s", name, describe(node));
		return;
	}
	/* What does not fit becomes the greatest, or the least, that does. */
	value = strtoll(text, NULL, 10);
	if (value < low || value > high)
		check_error(check, node, "out_of_range", hint,
					"%s is out of range: %s", name, describe(node));
	else
		*result = value;
}

void
check_timestamp(Check *check, const PolicyNode *node, const char *name, TimestampTz *result)
{
	const char *text = check_string(check, node, name);

	if (text != NULL && !policy_parse_timestamp(text, node->u.scalar.len, result))
		check_error(check, node, "bad_timestamp",
					"Write an RFC 3339 timestamp with its zone, as in 2026-11-01T00:00:00Z.",
					"%s is not a timestamp: %s", name, describe(node));
}

const char *
check_id(Check *check, const PolicyNode *node, const char *name)
{
	const char *text = check_string(check, node, name);

	if (text == NULL)
		return NULL;
	if (node->u.scalar.len >= 1 && node->u.scalar.len <= 128 &&
		strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		(size_t) node->u.scalar.len)
		return text;
	check_error(check, node, "bad_id",
				"Use 1 to 128 of the characters A-Z, a-z, 0-9, \".\", \"_\" and \"-\".",
				"bad %s: %s", name, describe(node));
	return NULL;
}

/* In lower or in upper case, not mixed. */
bool
check_decision(Check *check, const PolicyNode *node, const char *name, PolicyDecision *result)
{
	const char *text = check_string(check, node, name);
	const char *nearest;

	if (text == NULL)
		return false;
	for (int i = 0; i < POLICY_NDECISIONS; i++)
	{
		if (strcmp(text, decision_names[i]) == 0 || strcmp(text, policy_decision_labels[i]) == 0)
		{
			*result = i;
			return true;
		}
	}
	nearest = policy_nearest(text, node->u.scalar.len, decision_names, POLICY_NDECISIONS);
	check_error(check, node, "bad_value",
				nearest ? psprintf("Did you mean \"%s\"?", nearest) :
				"Write allow, allow_with_constraints, throttle, require_approval or deny.",
				"unknown decision %s", describe(node));
	return false;
}

static void
report_unknown_key(Check *check, const PolicyNode *key, const char *name,
				   const CheckKey *keys, int nkeys)
{
	const char **names = palloc(sizeof(char *) * nkeys);
	const char *nearest;
	StringInfoData hint;

	for (int i = 0; i < nkeys; i++)
		names[i] = keys[i].name;
	nearest = policy_nearest(key->u.scalar.text, key->u.scalar.len, names, nkeys);
	initStringInfo(&hint);
	if (nearest != NULL)
		appendStringInfo(&hint, "Did you mean \"%s\"?", nearest);
	else
	{
		appendStringInfoString(&hint, "Known keys are ");
		for (int i = 0; i < nkeys; i++)
			appendStringInfo(&hint, "%s%s", i == 0 ? "" : ", ", names[i]);
		appendStringInfoChar(&hint, '.');
	}
	check_error(check, key, "unknown_key", hint.data, "unknown key \"%s\" in %s",
				policy_excerpt(key->u.scalar.text, key->u.scalar.len), name);
}

bool
check_mapping(Check *check, const PolicyNode *node, const char *name,
			  const CheckKey *keys, int nkeys, void *target)
{
	bool	   *seen;

	if (!check_is_mapping(check, node, name))
		return false;
	seen = palloc0(sizeof(bool) * nkeys);
	for (int i = 0; i < node->u.mapping.count; i++)
	{
		const PolicyPair *pair = &node->u.mapping.pairs[i];
		int			k = 0;

		CHECK_FOR_INTERRUPTS();
		while (k < nkeys && strcmp(keys[k].name, pair->key->u.scalar.text) != 0)
			k++;
		if (k == nkeys)
		{
			report_unknown_key(check, pair->key, name, keys, nkeys);
			continue;
		}
		seen[k] = true;
		keys[k].handle(check, pair->value, keys[k].name, target);
	}
	for (int k = 0; k < nkeys; k++)
	{
		if (keys[k].required && !seen[k])
			check_error(check, node, "missing_key", psprintf("Add \"%s:\" to it.", keys[k].name),
						"%s lacks the key \"%s\"", name, keys[k].name);
	}
	return true;
}

void
check_paths(Check *check, const PolicyNode *node, const char *name, PolicyPathList *paths)
{
	if (!check_is_sequence(check, node, name))
		return;
	paths->items = palloc0(sizeof(PolicyPath) * Max(node->u.sequence.count, 1));
	for (int i = 0; i < node->u.sequence.count; i++)
	{
		const PolicyNode *item = node->u.sequence.items[i];
		const char *text = check_string(check, item, name);

		if (text != NULL && policy_path_parse(text, item->u.scalar.len, item->mark,
											  &paths->items[paths->count], check->diags))
			paths->count++;
	}
}

/* Whether PostgreSQL's numeric can hold a JSON number. */
static bool
number_fits(const char *text)
{
	const char *at = text + (*text == '-');
	int64		integers = strspn(at, "0123456789");
	int64		fraction = 0;
	int64		exponent = 0;

	at += integers;
	if (*at == '.')
	{
		fraction = strspn(++at, "0123456789");
		at += fraction;
	}
	if (*at == 'e' || *at == 'E')
	{
		bool		negative = *++at == '-';

		at += *at == '-' || *at == '+';
		at += strspn(at, "0");
		exponent = strlen(at) > 7 ? 10000000 : strtol(at, NULL, 10);
		if (negative)
			exponent = -exponent;
	}
	return integers + exponent <= MAX_INTEGER_DIGITS &&
		fraction - exponent <= MAX_FRACTION_DIGITS &&
		integers <= MAX_INTEGER_DIGITS && fraction <= MAX_FRACTION_DIGITS;
}

void
check_free_value(Check *check, const PolicyNode *node)
{
	CHECK_FOR_INTERRUPTS();
	if (node->kind == POLICY_NODE_SEQUENCE)
	{
		for (int i = 0; i < node->u.sequence.count; i++)
			check_free_value(check, node->u.sequence.items[i]);
	}
	else if (node->kind == POLICY_NODE_MAPPING)
	{
		for (int i = 0; i < node->u.mapping.count; i++)
			check_free_value(check, node->u.mapping.pairs[i].value);
	}
	else if (policy_scalar_type(node) == POLICY_SCALAR_NUMBER &&
			 !number_fits(node->u.scalar.text))
		check_error(check, node, "bad_number",
					"Quote it to make it a string.",
					"number has too many digits: %s", describe(node));
}

/* A JSON number below zero; -0 is not. */
static bool
is_negative(const char *text)
{
	return *text == '-' && strcspn(text, "123456789") < strcspn(text, "eE");
}

/* Every key whose first word is max or min needs a number that is not negative. */
static void
check_bounds(Check *check, const PolicyNode *node)
{
	for (int i = 0; i < node->u.mapping.count; i++)
	{
		const PolicyPair *pair = &node->u.mapping.pairs[i];
		PolicyConstraintKey key = policy_constraint_key(pair->key->u.scalar.text,
														pair->key->u.scalar.len);

		if (pair->value->kind == POLICY_NODE_MAPPING && key.bound == POLICY_BOUND_NONE)
			check_bounds(check, pair->value);
		else if (key.bound != POLICY_BOUND_NONE &&
				 (pair->value->kind != POLICY_NODE_SCALAR ||
				  policy_scalar_type(pair->value) != POLICY_SCALAR_NUMBER ||
				  is_negative(pair->value->u.scalar.text)))
			check_error(check, pair->value, "bad_number",
						"Write a number that is not negative, without quotes.",
						"%s must be a number of at least 0, but is %s",
						policy_excerpt(pair->key->u.scalar.text, pair->key->u.scalar.len),
						describe(pair->value));
	}
}

void
check_constraints(Check *check, const PolicyNode *node, const char *name, PolicyNode **result)
{
	if (!check_is_mapping(check, node, name))
		return;
	check_free_value(check, node);
	check_bounds(check, node);
	*result = unconstify(PolicyNode *, node);
}

static int
compare_ids(const void *a, const void *b)
{
	const CheckedId *left = a;
	const CheckedId *right = b;
	int			order = strcmp(left->id ? left->id : "", right->id ? right->id : "");

	if (order != 0)
		return order;
	if (left->mark.line != right->mark.line)
		return left->mark.line - right->mark.line;
	return left->mark.column - right->mark.column;
}

void
check_unique_ids(Check *check, CheckedId *ids, int count, const char *what)
{
	qsort(ids, count, sizeof(CheckedId), compare_ids);
	for (int i = 1; i < count; i++)
	{
		if (ids[i].id == NULL || ids[i - 1].id == NULL || strcmp(ids[i].id, ids[i - 1].id) != 0)
			continue;
		policy_diagnose(check->diags, ids[i].mark, POLICY_SEVERITY_ERROR, "duplicate_id",
						"Give each its own id.", "duplicate %s \"%s\", first at %d:%d",
						what, ids[i].id, ids[i - 1].mark.line, ids[i - 1].mark.column);
	}
}

static void
set_version(Check *check, const PolicyNode *node, const char *name, void *target)
{
	const char *text = check_string(check, node, name);

	if (text != NULL && strcmp(text, "v1") != 0)
		check_error(check, node, "bad_value", "Write version: v1.",
					"unknown version %s", describe(node));
}

static void
set_combine(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;
	const char *text = check_string(check, node, name);

	if (text == NULL)
		return;
	policy->first_match = strcmp(text, "first_match") == 0;
	if (!policy->first_match && strcmp(text, "strictest") != 0)
		check_error(check, node, "bad_value", "Write strictest or first_match.",
					"unknown way to combine: %s", describe(node));
}

static void
set_default_decision(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;

	if (check_decision(check, node, name, &policy->default_decision) &&
		policy->default_decision == POLICY_THROTTLE)
		check_error(check, node, "bad_value", "Throttle by a rule that matches every job.",
					"the default decision cannot be throttle");
}

static void
set_default_reason(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;
	const char *text = check_string(check, node, name);

	if (text != NULL && *text != '\0')
		policy->default_reason = text;
}

static void
set_default_constraints(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;

	check_constraints(check, node, name, &policy->default_constraints);
}

static void
set_defaults(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"decision", false, set_default_decision},
		{"reason", false, set_default_reason},
		{"constraints", false, set_default_constraints},
	};
	Policy	   *policy = target;

	if (check_mapping(check, node, name, keys, lengthof(keys), target) &&
		policy->default_decision == POLICY_ALLOW_WITH_CONSTRAINTS &&
		policy->default_constraints != NULL &&
		policy->default_constraints->u.mapping.count == 0)
		check_error(check, policy->default_constraints, "empty_constraints",
					"Name a bound, or write decision: allow.",
					"allow_with_constraints needs constraints");
}

static void
set_masks(Check *check, const PolicyNode *node, const char *name, void *target)
{
	Policy	   *policy = target;

	check_paths(check, node, name, &policy->masks);
}

static void
set_evidence(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {{"mask", false, set_masks}};

	check_mapping(check, node, name, keys, lengthof(keys), target);
}

/* Times in the rules make tests depend on theirs. */
static void
check_test_times(Check *check, const Policy *policy)
{
	for (int i = 0; check->has_times && i < policy->ntests; i++)
	{
		if (!policy->tests[i].has_at)
			policy_diagnose(check->diags, policy->tests[i].mark, POLICY_SEVERITY_ERROR,
							"missing_key", "Add at: with the time to decide at.",
							"a test lacks the key \"at\", and rules of this document have times");
	}
}

Policy *
policy_parse(const char *source, int len, PolicyDiagnostics *diags)
{
	static const CheckKey keys[] = {
		{"version", true, set_version},
		{"combine", false, set_combine},
		{"defaults", false, set_defaults},
		{"rules", false, check_rules},
		{"tests", false, check_tests},
		{"evidence", false, set_evidence},
	};
	Check		check = {.diags = diags};
	Policy	   *policy = palloc0(sizeof(Policy));
	PolicyNode *root = policy_yaml_parse(source, len, diags);

	policy->default_decision = POLICY_DENY;
	policy->default_reason = POLICY_DEFAULT_REASON;
	if (root != NULL &&
		check_mapping(&check, root, "the document", keys, lengthof(keys), policy))
	{
		check_immaterial(&check, policy);
		check_test_times(&check, policy);
	}
	policy_diagnostics_sort(diags);
	return diags->nerrors > 0 ? NULL : policy;
}
