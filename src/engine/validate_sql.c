/*
 * validate_sql.c
 *	  policy_validate(): every error and warning of a text, as rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "engine/lint.h"
#include "language/language.h"
#include "language/policy.h"
#include "rows.h"

/* line, col, severity, code, message, hint */
#define VALIDATE_COLUMNS 6

PG_FUNCTION_INFO_V1(policy_validate);

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

/* Says how many errors there are beyond those that were kept. */
static void
count_the_rest(PolicyDiagnostics *diags)
{
	PolicyDiagnostic *last;
	int			kept = 0;

	for (int i = 0; i < diags->count; i++)
	{
		if (diags->items[i].severity == POLICY_SEVERITY_ERROR)
			kept++;
	}
	if (diags->nerrors == kept)
		return;

	/* In the last one's place: there is room for no more. */
	last = &diags->items[diags->count - 1];
	last->mark = no_position;
	last->code = "too_many_errors";
	last->message = psprintf("%d more errors are not listed",
							 diags->nerrors - kept + 1);
	last->hint = "Correct those that are listed first.";
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

	count_the_rest(&diags);
	for (int i = 0; i < diags.count; i++)
		put_row(rows, descriptor, &diags.items[i]);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return (Datum) 0;
}
