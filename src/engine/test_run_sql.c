/*
 * test_run_sql.c
 *	  policy_test_document(): a document's own tests, run against it, as TAP.
 *
 * TAP is read line by line, and names, reasons and constraints are anybody's: all of
 * them are shown on one line, without control characters, and a `#` in a name cannot
 * begin a directive.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine/coverage.h"
#include "language/document.h"
#include "rows.h"

/* What is shown of a name or a text, and of constraints, in characters. */
#define MAX_TEXT_CHARS 200
#define MAX_JSON_CHARS 1000

PG_FUNCTION_INFO_V1(policy_test_document);
PG_FUNCTION_INFO_V1(policy_test_failures);

typedef struct TestRun
{
	Policy	   *policy;
	CompiledPolicy *compiled;
	TimestampTz now;			/* of tests that name no time */
	Tuplestorestate *rows;		/* NULL: only counted */
	TupleDesc	descriptor;
	int			failures;
} TestRun;

/* One key of `expect`: what differs, in words; empty where nothing does. */
typedef void (*ExpectKey) (const PolicyNode *expected, const PolicyVerdict *verdict,
						   StringInfo differs);

/* ---- lines ---- */

static void emit(TestRun *run, const char *fmt,...) pg_attribute_printf(2, 3);

static void
emit(TestRun *run, const char *fmt,...)
{
	va_list		args;
	StringInfoData line;
	Datum		value;
	bool		isnull = false;
	int			needed;

	if (run->rows == NULL)
		return;
	initStringInfo(&line);
	for (;;)
	{
		va_start(args, fmt);
		needed = appendStringInfoVA(&line, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&line, needed);
	}
	value = CStringGetTextDatum(line.data);
	tuplestore_putvalues(run->rows, run->descriptor, &value, &isnull);
}

/* A name on one line, in which nothing can be taken for a directive. */
static char *
tap_name(const char *name)
{
	const char *shown = policy_shown(name, strlen(name), MAX_TEXT_CHARS);
	StringInfoData escaped;

	initStringInfo(&escaped);
	for (; *shown != '\0'; shown++)
	{
		if (*shown == '#' || *shown == '\\')
			appendStringInfoChar(&escaped, '\\');
		appendStringInfoChar(&escaped, *shown);
	}
	return escaped.data;
}

static char *
quoted(const char *string, int len)
{
	return psprintf("\"%s\"", policy_shown(string, len, MAX_TEXT_CHARS));
}

static char *
json_shown(Jsonb *value)
{
	char	   *json = JsonbToCString(NULL, &value->root, VARSIZE(value));

	return policy_shown(json, strlen(json), MAX_JSON_CHARS);
}

/* ---- what is expected ---- */

static void
expect_decision(const PolicyNode *expected, const PolicyVerdict *verdict, StringInfo differs)
{
	const char *got = policy_decision_labels[verdict->decision];

	if (pg_strcasecmp(expected->u.scalar.text, got) != 0)
		appendStringInfo(differs, "expected %s, got %s",
						 policy_shown(expected->u.scalar.text, expected->u.scalar.len,
									  MAX_TEXT_CHARS), got);
}

static void
expect_matched_rule(const PolicyNode *expected, const PolicyVerdict *verdict,
					StringInfo differs)
{
	const char *text = expected->u.scalar.text;
	const char *got = verdict->winner != NULL ? verdict->winner->id : NULL;

	if (got != NULL && strcmp(text, got) == 0)
		return;
	appendStringInfo(differs, "expected %s, got %s", quoted(text, expected->u.scalar.len),
					 got != NULL ? quoted(got, strlen(got)) : "none");
	if (got == NULL && strcmp(text, "null") == 0)
		appendStringInfoString(differs, " (write matched_rules: [] to expect none)");
}

static void
append_ids(StringInfo list, const CompiledRule **rules, int count)
{
	appendStringInfoChar(list, '[');
	for (int i = 0; i < count; i++)
		appendStringInfo(list, "%s%s", i > 0 ? ", " : "",
						 quoted(rules[i]->id, strlen(rules[i]->id)));
	appendStringInfoChar(list, ']');
}

static void
expect_matched_rules(const PolicyNode *expected, const PolicyVerdict *verdict,
					 StringInfo differs)
{
	bool		same = expected->u.sequence.count == verdict->nmatched;

	for (int i = 0; same && i < verdict->nmatched; i++)
		same = strcmp(expected->u.sequence.items[i]->u.scalar.text,
					  verdict->matched[i]->id) == 0;
	if (same)
		return;
	appendStringInfoString(differs, "expected [");
	for (int i = 0; i < expected->u.sequence.count; i++)
	{
		const PolicyNode *item = expected->u.sequence.items[i];

		appendStringInfo(differs, "%s%s", i > 0 ? ", " : "",
						 quoted(item->u.scalar.text, item->u.scalar.len));
	}
	appendStringInfoString(differs, "], got ");
	append_ids(differs, verdict->matched, verdict->nmatched);
}

static void
expect_reason(const PolicyNode *expected, const PolicyVerdict *verdict, StringInfo differs)
{
	const char *got = VARDATA_ANY(verdict->reason);
	int			len = VARSIZE_ANY_EXHDR(verdict->reason);

	if (len != expected->u.scalar.len || memcmp(got, expected->u.scalar.text, len) != 0)
		appendStringInfo(differs, "expected %s, got %s",
						 quoted(expected->u.scalar.text, expected->u.scalar.len),
						 quoted(got, len));
}

static void
expect_constraints(const PolicyNode *expected, const PolicyVerdict *verdict,
				   StringInfo differs)
{
	const PolicyConstraint *wanted = constraint_from_node(expected, NULL);

	if (!constraint_equal(wanted, constraint_from_jsonb(verdict->constraints)))
		appendStringInfo(differs, "expected %s, got %s", json_shown(constraint_to_jsonb(wanted)),
						 json_shown(verdict->constraints));
}

static const struct
{
	const char *key;
	ExpectKey	differs;
}			expect_keys[] = {
	{"decision", expect_decision},
	{"matched_rule", expect_matched_rule},
	{"matched_rules", expect_matched_rules},
	{"reason", expect_reason},
	{"constraints", expect_constraints},
};

/* What differs, a line a key. */
static List *
compare(const PolicyNode *expect, const PolicyVerdict *verdict)
{
	List	   *lines = NIL;

	for (int i = 0; i < expect->u.mapping.count; i++)
	{
		const PolicyPair *pair = &expect->u.mapping.pairs[i];
		const char *key = pair->key->u.scalar.text;
		StringInfoData differs;

		initStringInfo(&differs);
		for (int j = 0; j < (int) lengthof(expect_keys); j++)
		{
			if (strcmp(key, expect_keys[j].key) == 0)
				expect_keys[j].differs(pair->value, verdict, &differs);
		}
		if (differs.len > 0)
			lines = lappend(lines, psprintf("%s: %s", key, differs.data));
	}
	return lines;
}

/* ---- running ---- */

/* The test's job; a scalar is as invalid as an array. */
static void
read_test_job(const PolicyTest *test, Job *job)
{
	static const PolicyConstraint nothing = {.kind = CONSTRAINT_ARRAY};
	const PolicyConstraint *value = &nothing;

	if (test->job->kind != POLICY_NODE_SCALAR)
		value = constraint_from_node(test->job, NULL);
	policy_job_read(constraint_to_jsonb(value), job);
}

static void
report(TestRun *run, int number, const PolicyTest *test, List *differs)
{
	ListCell   *line;

	emit(run, "%sok %d - %s", differs == NIL ? "" : "not ", number, tap_name(test->name));
	if (test->expect->u.mapping.count == 0)
		emit(run, "#   expects nothing, and cannot fail");
	if (differs != NIL)
		emit(run, "#   Failed test at line %d", test->mark.line);
	foreach(line, differs)
		emit(run, "#   %s", (char *) lfirst(line));
}

static void
run_test(TestRun *run, int index, PolicyCoverage *coverage)
{
	const PolicyTest *test = &run->policy->tests[index];
	TimestampTz at = test->has_at ? test->at : run->now;
	PolicyBudget no_limit = {0};
	PolicyVerdict verdict;
	List	   *differs;
	Job			job;

	read_test_job(test, &job);
	policy_decide(run->compiled, &job, at, NULL, NULL, &no_limit, &verdict);
	differs = compare(test->expect, &verdict);
	if (differs != NIL)
		run->failures++;
	report(run, index + 1, test, differs);
	if (coverage != NULL && job.invalid == NULL)
		policy_coverage_add(coverage, &job, at, &verdict);
}

static void
run_tests(TestRun *run, PolicyCoverage *coverage)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "policy test",
												  ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(context);
	for (int i = 0; i < run->policy->ntests; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		run_test(run, i, coverage);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---- coverage ---- */

static void
report_untouched_parts(TestRun *run, const CompiledRule *rule, const RuleCoverage *coverage)
{
	int			nparts = policy_rule_conditions(rule);

	for (int i = 0; i < nparts; i++)
	{
		RulePart	part = policy_part_numbered(rule, i);

		if (coverage->parts[i])
			continue;
		if (part.kind == RULE_PART_EXCEPTION)
			emit(run, "#   untouched exception: %s of %s", rule->exceptions[part.index].id,
				 rule->id);
		else
			emit(run, "#   untouched condition: %s of %s", policy_part_name(rule, part),
				 rule->id);
	}
}

/* With no tests the first line says it all. */
static void
report_coverage(TestRun *run, const PolicyCoverage *coverage)
{
	CoverageCounts counts;

	policy_coverage_count(coverage, &counts);
	emit(run, "# touched by tests: %d of %d rules, %d of %d conditions, %d of %d exceptions",
		 counts.rules.touched, counts.rules.all, counts.conditions.touched,
		 counts.conditions.all, counts.exceptions.touched, counts.exceptions.all);
	for (int i = 0; run->policy->ntests > 0 && i < run->compiled->nrules; i++)
	{
		const CompiledRule *rule = &run->compiled->rules[i];

		if (coverage->rules[i].touched)
			report_untouched_parts(run, rule, &coverage->rules[i]);
		else
			emit(run, "#   untouched rule: %s", rule->id);
	}
}

static void
run_document(TestRun *run, PolicyDocument *document)
{
	static const uint8 no_digest[POLICY_DIGEST_LENGTH];
	PolicyBudget no_limit = {0};
	PolicyDiagnostics diags;
	PolicyCoverage coverage;

	policy_diagnostics_init(&diags);
	run->policy = policy_parse(document->source, document->source_len, &diags);
	if (run->policy == NULL)
		policy_diagnostics_raise(&diags);
	run->compiled = policy_compile(run->policy, NULL, no_digest, CurrentMemoryContext,
								   &no_limit);
	if (run->rows == NULL)
	{
		run_tests(run, NULL);
		return;
	}
	if (run->policy->ntests == 0)
		emit(run, "1..0 # SKIP the document has no tests");
	else
		emit(run, "1..%d", run->policy->ntests);
	policy_coverage_init(run->compiled, &coverage);
	run_tests(run, &coverage);
	report_coverage(run, &coverage);
}

static void
begin_run(TestRun *run, MemoryContext *caller)
{
	run->now = GetCurrentStatementStartTimestamp();
	*caller = MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "policy tests",
														  ALLOCSET_DEFAULT_SIZES));
}

static void
end_run(MemoryContext caller)
{
	MemoryContext context = MemoryContextSwitchTo(caller);

	MemoryContextDelete(context);
}

/* policy_test_document(document policy_document) */
Datum
policy_test_document(PG_FUNCTION_ARGS)
{
	TestRun		run = {0};
	MemoryContext caller;

	run.rows = policy_begin_rows(fcinfo, &run.descriptor);
	begin_run(&run, &caller);
	if (PG_ARGISNULL(0))
	{
		emit(&run, "1..1");
		emit(&run, "not ok 1 - the document is NULL");
	}
	else
		run_document(&run, PG_GETARG_POLICY_DOCUMENT(0));
	end_run(caller);
	return (Datum) 0;
}

/* policy.test_failures(document policy_document) */
Datum
policy_test_failures(PG_FUNCTION_ARGS)
{
	TestRun		run = {0};
	MemoryContext caller;

	begin_run(&run, &caller);
	run_document(&run, PG_GETARG_POLICY_DOCUMENT(0));
	end_run(caller);
	PG_RETURN_INT32(run.failures);
}
