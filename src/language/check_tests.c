/*
 * check_tests.c
 *	  Checks of a document's own tests.
 */
#include "postgres.h"

#include "language/check.h"

static void
set_name(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyTest *) target)->mark = node->mark;
	((PolicyTest *) target)->name = check_string(check, node, name);
}

static void
set_job(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_free_value(check, node);
	((PolicyTest *) target)->job = unconstify(PolicyNode *, node);
}

static void
set_at(Check *check, const PolicyNode *node, const char *name, void *target)
{
	((PolicyTest *) target)->has_at = true;
	check_timestamp(check, node, name, &((PolicyTest *) target)->at);
}

static void
expect_decision(Check *check, const PolicyNode *node, const char *name, void *target)
{
	PolicyDecision ignored;

	check_decision(check, node, name, &ignored);
}

static void
expect_string(Check *check, const PolicyNode *node, const char *name, void *target)
{
	check_string(check, node, name);
}

static void
expect_strings(Check *check, const PolicyNode *node, const char *name, void *target)
{
	if (!check_is_sequence(check, node, name))
		return;
	for (int i = 0; i < node->u.sequence.count; i++)
		check_string(check, node->u.sequence.items[i], name);
}

static void
expect_constraints(Check *check, const PolicyNode *node, const char *name, void *target)
{
	if (check_is_mapping(check, node, name))
		check_free_value(check, node);
}

static void
set_expect(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"decision", false, expect_decision},
		{"matched_rule", false, expect_string},
		{"matched_rules", false, expect_strings},
		{"reason", false, expect_string},
		{"constraints", false, expect_constraints},
	};

	if (check_mapping(check, node, name, keys, lengthof(keys), target))
		((PolicyTest *) target)->expect = unconstify(PolicyNode *, node);
}

void
check_tests(Check *check, const PolicyNode *node, const char *name, void *target)
{
	static const CheckKey keys[] = {
		{"name", true, set_name},
		{"job", true, set_job},
		{"at", false, set_at},
		{"expect", true, set_expect},
	};
	Policy	   *policy = target;

	if (!check_is_sequence(check, node, name))
		return;
	policy->ntests = node->u.sequence.count;
	policy->tests = palloc0(sizeof(PolicyTest) * Max(policy->ntests, 1));
	for (int i = 0; i < policy->ntests; i++)
	{
		policy->tests[i].mark = node->u.sequence.items[i]->mark;
		check_mapping(check, node->u.sequence.items[i], "a test", keys, lengthof(keys),
					  &policy->tests[i]);
	}
}
