/*
 * validate_sql.c
 *	  policy_validate() and policy.lint(): errors and warnings, as rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "engine/lint.h"
#include "language/document.h"
#include "language/language.h"
#include "language/name_table.h"
#include "language/policy.h"
#include "rows.h"

/* line, col, severity, code, message, hint */
#define VALIDATE_COLUMNS 6

PG_FUNCTION_INFO_V1(policy_validate);
PG_FUNCTION_INFO_V1(policy_lint_document);
PG_FUNCTION_INFO_V1(policy_standing_rules);

static const PolicyMark document_start = {1, 1};
static const PolicyMark no_position = {0, 0};

static void
find_problems(text *source, PolicyDiagnostics *diags)
{
	const char *data = VARDATA_ANY(source);
	int			len = (int) VARSIZE_ANY_EXHDR(source);
	Policy	   *policy;

	if (len > policy_max_document_bytes)
	{
		policy_diagnose(diags, document_start, POLICY_SEVERITY_ERROR,
						"too_large",
						"A superuser can raise policy_engine.max_document_bytes.",
						"document is %d bytes long, policy_engine.max_document_bytes is %d",
						len, policy_max_document_bytes);
		return;
	}
	policy = policy_parse(data, len, diags);
	if (policy && diags->nerrors == 0)
		policy_lint(policy, GetCurrentStatementStartTimestamp(), diags);
	policy_diagnostics_sort(diags);
}

/* Says, in the last one's place, that there are more than were kept. */
static void
count_the_rest(PolicyDiagnostics *diags)
{
	PolicyDiagnostic *last;
	int			kept = 0;

	if (!diags->truncated)
		return;
	for (int i = 0; i < diags->count; i++)
	{
		if (diags->items[i].severity == POLICY_SEVERITY_ERROR)
			kept++;
	}
	last = &diags->items[diags->count - 1];
	last->mark = no_position;
	if (diags->nerrors > 0)
	{
		last->code = "too_many_errors";
		last->message = psprintf("%d more errors are not listed", diags->nerrors - kept + 1);
		last->hint = "Correct those that are listed first.";
		return;
	}
	last->code = "too_many_warnings";
	last->message = psprintf("there are more than %d warnings", diags->count - 1);
	last->hint = "Look at those that are listed first.";
}

static Datum
text_or_null(const char *string, bool *isnull)
{
	*isnull = string == NULL;
	return string ? CStringGetTextDatum(string) : (Datum) 0;
}

static void
put_row(Tuplestorestate *rows, TupleDesc descriptor,
		const PolicyDiagnostic *item)
{
	Datum		values[VALIDATE_COLUMNS];
	bool		nulls[VALIDATE_COLUMNS] = {false};
	bool		error = item->severity == POLICY_SEVERITY_ERROR;

	values[0] = Int32GetDatum(item->mark.line);
	values[1] = Int32GetDatum(item->mark.column);
	nulls[0] = nulls[1] = item->mark.line == 0;
	values[2] = CStringGetTextDatum(error ? "error" : "warning");
	values[3] = text_or_null(item->code, &nulls[3]);
	values[4] = text_or_null(item->message, &nulls[4]);
	values[5] = text_or_null(item->hint, &nulls[5]);
	tuplestore_putvalues(rows, descriptor, values, nulls);
}

static void
put_rows(PolicyDiagnostics *diags, Tuplestorestate *rows, TupleDesc descriptor)
{
	count_the_rest(diags);
	for (int i = 0; i < diags->count; i++)
		put_row(rows, descriptor, &diags->items[i]);
}

Datum
policy_validate(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Tuplestorestate *rows = policy_begin_rows(fcinfo, &descriptor);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "policy_validate",
												  ALLOCSET_DEFAULT_SIZES);
	PolicyDiagnostics diags;

	MemoryContextSwitchTo(context);
	policy_diagnostics_init(&diags);
	if (PG_ARGISNULL(0))
		policy_diagnose(&diags, no_position, POLICY_SEVERITY_ERROR,
						"null", "Give the text of a policy.",
						"document is NULL");
	else
		find_problems(PG_GETARG_TEXT_PP(0), &diags);
	put_rows(&diags, rows, descriptor);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* Warns of the rules, ids in an array, that no decision lists; counts is as long. */
static void
report_quiet_rules(const Policy *policy, ArrayType *ids, ArrayType *counts, TimestampTz since,
				   PolicyDiagnostics *diags)
{
	PolicyNameTable rules;
	Datum	   *id;
	Datum	   *count;
	int			nids;
	int			ncounts;

	policy_name_table_init(&rules, (uint64) since);
	for (int i = 0; i < policy->nrules; i++)
		policy_name_table_put(&rules, policy->rules[i].id, (int) strlen(policy->rules[i].id),
							  &policy->rules[i]);
	deconstruct_array(ids, TEXTOID, -1, false, TYPALIGN_INT, &id, NULL, &nids);
	deconstruct_array(counts, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &count, NULL, &ncounts);
	for (int i = 0; i < Min(nids, ncounts); i++)
	{
		char	   *name = TextDatumGetCString(id[i]);
		PolicyNameEntry *entry = policy_name_table_find(&rules, name, (int) strlen(name));

		CHECK_FOR_INTERRUPTS();
		if (entry != NULL)
			policy_diagnose(diags, ((const PolicyRule *) entry->value)->mark,
							POLICY_SEVERITY_WARNING, "no_hits",
							"Ask its owner whether it is still needed.",
							"no decision since %s lists rule \"%s\" (looked at: " INT64_FORMAT ")",
							timestamptz_to_str(since), name, DatumGetInt64(count[i]));
	}
}

/* policy.lint(document, quiet text[], decisions bigint[], since timestamptz) */
Datum
policy_lint_document(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	TupleDesc	descriptor;
	Tuplestorestate *rows = policy_begin_rows(fcinfo, &descriptor);
	PolicyDiagnostics diags;
	Policy	   *policy;

	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	if (policy != NULL && diags.nerrors == 0)
	{
		if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
			report_quiet_rules(policy, PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2),
							   PG_GETARG_TIMESTAMPTZ(3), &diags);
		policy_lint(policy, GetCurrentStatementStartTimestamp(), &diags);
	}
	put_rows(&diags, rows, descriptor);
	return (Datum) 0;
}

/* policy.standing_rules(document, since timestamptz, until timestamptz) */
Datum
policy_standing_rules(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	TimestampTz since = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(2);
	ArrayBuildState *ids = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	PolicyDiagnostics diags;
	Policy	   *policy;

	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	for (int i = 0; policy != NULL && i < policy->nrules; i++)
	{
		const PolicyRule *rule = &policy->rules[i];

		if (rule->enabled && rule->not_before <= since && rule->expires_at > until)
			ids = accumArrayResult(ids, CStringGetTextDatum(rule->id), false, TEXTOID,
								   CurrentMemoryContext);
	}
	PG_RETURN_DATUM(makeArrayResult(ids, CurrentMemoryContext));
}
