/*
 * explain_snapshot_sql.c
 *	  policy_explain(): a stored snapshot's rules, one by one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "engine/explain.h"
#include "engine/verdict_sql.h"
#include "rows.h"
#include "store/decide.h"

/* rule, decision, applies, failed_on, detail */
#define EXPLAIN_COLUMNS 5

PG_FUNCTION_INFO_V1(policy_explain);
PG_FUNCTION_INFO_V1(policy_explain_document);

typedef struct ExplainRows
{
	Tuplestorestate *rows;
	TupleDesc	descriptor;
	Oid			decisions[POLICY_NDECISIONS];
} ExplainRows;

static void
put_row(ExplainRows *out, const char *rule, PolicyDecision decision, bool applies,
		const char *failed_on, const char *detail)
{
	Datum		values[EXPLAIN_COLUMNS] = {0};
	bool		nulls[EXPLAIN_COLUMNS] = {false};

	nulls[0] = rule == NULL;
	if (rule != NULL)
		values[0] = CStringGetTextDatum(rule);
	values[1] = ObjectIdGetDatum(out->decisions[decision]);
	values[2] = BoolGetDatum(applies);
	nulls[3] = failed_on == NULL;
	if (failed_on != NULL)
		values[3] = CStringGetTextDatum(failed_on);
	values[4] = CStringGetTextDatum(detail);
	tuplestore_putvalues(out->rows, out->descriptor, values, nulls);
}

/* One row, of a verdict that no rule had a part in. */
static void
put_verdict(ExplainRows *out, const PolicyVerdict *verdict, const char *failed_on)
{
	put_row(out, NULL, verdict->decision, true, failed_on, text_to_cstring(verdict->reason));
}

static void
put_rules(ExplainRows *out, const PolicyDocument *document, Job *job, TimestampTz at,
		  PolicyRates *rates)
{
	PolicyDiagnostics diags;
	Explanation explanation;
	Policy	   *policy;
	MemoryContext row;
	MemoryContext caller;

	policy_diagnostics_init(&diags);
	policy = policy_parse(document->source, document->source_len, &diags);
	if (policy == NULL)
		policy_diagnostics_raise(&diags);
	policy_explain_job(policy, job, at, rates, &explanation);
	row = AllocSetContextCreate(CurrentMemoryContext, "policy_explain row",
								ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(row);
	for (int i = 0; i < explanation.nrules; i++)
	{
		const ExplainedRule *rule = &explanation.rules[i];
		const char *failed_on;
		const char *detail;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row);
		detail = policy_explain_detail(&explanation, rule, &failed_on);
		put_row(out, rule->source != NULL ? rule->source->id : NULL, rule->decision,
				rule->applies, failed_on, detail);
	}
	MemoryContextSwitchTo(caller);
}

/* The document to explain; NULL, with one row put, where no rule is asked. */
static PolicyDocument *
find_document(ExplainRows *out, text *snapshot, Job *job, TimestampTz at)
{
	ActivePolicy active;
	PolicyVerdict verdict;

	if (snapshot != NULL)
		return policy_snapshot_document(snapshot, false);
	policy_active(NULL, &active);
	if (active.policy != NULL)
		return policy_snapshot_document(active.snapshot, true);
	policy_decide_active(&active, job, at, NULL, policy_rates_read, &verdict);
	put_verdict(out, &verdict, job->invalid != NULL && active.unavailable != NULL ? "job" : "policy");
	return NULL;
}

/* A document's rows: one alone where the job is invalid. */
static void
put_document(ExplainRows *out, const PolicyDocument *document, Job *job, TimestampTz at,
			 PolicyRates *rates)
{
	PolicyVerdict verdict;

	if (job->invalid == NULL)
	{
		put_rules(out, document, job, at, rates);
		return;
	}
	policy_verdict_of_invalid(job, &verdict);
	put_verdict(out, &verdict, "job");
}

/* Begins the result, in a context of its own; returns the caller's. */
static MemoryContext
begin_explain(FunctionCallInfo fcinfo, ExplainRows *out)
{
	out->rows = policy_begin_rows(fcinfo, &out->descriptor);
	policy_decision_oids(TupleDescAttr(out->descriptor, 1)->atttypid, out->decisions);
	return MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "policy_explain",
													   ALLOCSET_DEFAULT_SIZES));
}

static void
end_explain(MemoryContext caller)
{
	MemoryContext context = MemoryContextSwitchTo(caller);

	MemoryContextDelete(context);
}

/* policy_explain(job jsonb, snapshot text) */
Datum
policy_explain(PG_FUNCTION_ARGS)
{
	TimestampTz at = GetCurrentStatementStartTimestamp();
	ExplainRows out;
	MemoryContext caller = begin_explain(fcinfo, &out);
	PolicyDocument *document;
	Job			job;

	policy_job_read(PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0), &job);
	document = find_document(&out, PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1), &job, at);
	if (document != NULL)
		put_document(&out, document, &job, at, policy_rates_read);
	end_explain(caller);
	return (Datum) 0;
}

/* policy.explain(document policy_document, job jsonb, at timestamptz) */
Datum
policy_explain_document(PG_FUNCTION_ARGS)
{
	ExplainRows out;
	MemoryContext caller = begin_explain(fcinfo, &out);
	Job			job;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a document and a time are needed to explain a verdict")));
	policy_job_read(PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1), &job);
	put_document(&out, PG_GETARG_POLICY_DOCUMENT(0), &job, PG_GETARG_TIMESTAMPTZ(2), NULL);
	end_explain(caller);
	return (Datum) 0;
}
