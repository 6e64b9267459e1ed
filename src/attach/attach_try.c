/*
 * attach_try.c
 *	  An attachment tried on rows that its table has, and taken back.
 *
 * Every try is a subtransaction of its own, which is rolled back, so that one that fails
 * does not keep the others from being made.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "attach/attached_guard.h"
#include "attach/attached_move.h"
#include "engine/job.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(policy_try_attachment);

/* As many of a table's rows are looked at. */
#define MAX_ROWS 100

static const char *const form_names[ATTACHED_NFORMS] = {
	[ATTACHED_HOLD] = "hold",
	[ATTACHED_DENY] = "deny",
	[ATTACHED_THROTTLE] = "throttle",
	[ATTACHED_ALLOW] = "allow",
	[ATTACHED_RELEASE] = "release"
};

typedef struct Trial
{
	Relation	relation;
	int64		attachment_id;
	AttachedTable *table;		/* NULL: it could not be made */
	HeapTuple  *rows;
	int			nrows;
	int			nvalid;			/* rows whose job is valid */
	char	   *invalid;		/* why one is not */
	List	   *problems;		/* strings */
} Trial;

typedef void (*TryStep) (Trial *trial, HeapTuple row, int form);

static void
add_problem(Trial *trial, const char *problem)
{
	ListCell   *cell;

	foreach(cell, trial->problems)
	{
		if (strcmp(lfirst(cell), problem) == 0)
			return;
	}
	trial->problems = lappend(trial->problems, pstrdup(problem));
}

static void
read_job(Trial *trial, HeapTuple row, int form)
{
	Job			job;

	attached_show(trial->table, row);
	(void) attached_key(trial->table);
	policy_job_read(attached_job(trial->table), &job);
	if (job.invalid == NULL)
		trial->nvalid++;
	else
		trial->invalid = pstrdup(job.invalid);
}

/* A start of the row, and its end, as expressions see them. */
static void
read_change(Trial *trial, HeapTuple row, int form)
{
	attached_show_change(trial->table, row, row);
	(void) attached_holds(trial->table, trial->table->starts);
	(void) attached_holds(trial->table, trial->table->ends);
	attached_show_change(trial->table, row, NULL);
	(void) attached_holds(trial->table, trial->table->starts);
}

/* A job that its own form makes another one of would never be what was decided. */
static void
check_formed(Trial *trial, HeapTuple row, HeapTuple formed)
{
	AttachedTable *table = trial->table;
	Jsonb	   *job;
	Jsonb	   *formed_job;

	attached_show(table, row);
	job = (Jsonb *) PG_DETOAST_DATUM_COPY(JsonbPGetDatum(attached_job(table)));
	attached_show(table, formed);
	formed_job = attached_job(table);
	if (compareJsonbContainers(&job->root, &formed_job->root) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_POLICY_CANNOT_ATTACH),
				 errmsg("what it sets changes what the job is")));
}

static void
write_form(Trial *trial, HeapTuple row, int form)
{
	TimestampTz retry_at = GetCurrentTimestamp();
	Jsonb	   *constraints = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"tried\": true}")));
	MemoryContext mine = CurrentMemoryContext;
	PolicyJobKey key;
	HeapTuple	formed;

	attached_show(trial->table, row);
	key = attached_job_key(trial->table);
	attached_set_names(trial->table, form == ATTACHED_THROTTLE ? &retry_at : NULL,
					   cstring_to_text("tried by policy_attach"),
					   form == ATTACHED_ALLOW ? constraints : NULL);
	formed = attached_form(trial->table, form, row);
	MemoryContextSwitchTo(mine);
	check_formed(trial, row, formed);
	attached_write_row(trial->table, &key, row, formed);
}

/* Makes the attachment's expressions ready, which runs what is constant in them. */
static void
acquire(Trial *trial, HeapTuple row, int form)
{
	trial->table = attached_table_acquire(trial->relation, trial->attachment_id);
}

static void
check_column(Trial *trial, AttrNumber column)
{
	AttachedTable *table = trial->table;
	const char *name = NameStr(TupleDescAttr(table->tupdesc, column - 1)->attname);

	if (bms_is_member(column, table->job_columns))
		add_problem(trial, psprintf("column \"%s\" is part of the job, and cannot be what holds, denies or throttles it",
									name));
	for (int i = 0; i < table->nidentity; i++)
	{
		if (table->identity[i] == column)
			add_problem(trial, psprintf("column \"%s\" is part of the job's key, and cannot be set",
										name));
	}
}

/* What is set must be neither what the job is nor what it is known by. */
static void
check_columns(Trial *trial)
{
	const AttachedTable *table = trial->table;

	for (int i = 0; i < table->nguarded; i++)
		check_column(trial, table->guarded[i]);
}

/* Runs a step, whose effects are undone; returns what it raised, or NULL. */
static char *
try_step(Trial *trial, TryStep step, HeapTuple row, int form)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile problem = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		step(trial, row, form);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		problem = pstrdup(error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return problem;
}

static void
try_rows(Trial *trial)
{
	for (int i = 0; i < trial->nrows; i++)
	{
		char	   *problem = try_step(trial, read_job, trial->rows[i], 0);

		if (problem != NULL)
			add_problem(trial, psprintf("job: %s", problem));
		problem = try_step(trial, read_change, trial->rows[i], 0);
		if (problem != NULL)
			add_problem(trial, psprintf("starts or ends: %s", problem));
	}
	if (trial->nrows > 0 && trial->nvalid == 0 && trial->invalid != NULL)
		add_problem(trial, psprintf("job: no row that is there gives a valid job: %s",
									trial->invalid));
}

/* Writes one row in each form: it may break the table's own constraints. */
static void
try_forms(Trial *trial)
{
	for (int form = ATTACHED_HOLD; form <= ATTACHED_RELEASE && trial->nrows > 0; form++)
	{
		char	   *problem = try_step(trial, write_form, trial->rows[0], form);

		if (problem != NULL)
			add_problem(trial, psprintf("%s: %s", form_names[form], problem));
	}
}

/* Rows that are there, those that have not ended first. */
static void
find_rows(Trial *trial)
{
	AttachedTable *table = trial->table;
	char	   *query = psprintf("SELECT t FROM %s t LIMIT %d",
								 quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->root)),
															get_rel_name(table->root)), MAX_ROWS);
	MemoryContext caller = CurrentMemoryContext;
	int			nended = 0;

	trial->rows = palloc(sizeof(HeapTuple) * MAX_ROWS);
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute(query, true, MAX_ROWS) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", query);
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		HeapTupleHeader header =
		DatumGetHeapTupleHeader(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
											  &isnull));
		HeapTupleData tuple;

		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = header;
		trial->rows[trial->nrows++] = heap_copytuple(&tuple);
	}
	SPI_finish();
	for (int i = 0; i < trial->nrows; i++)
	{
		HeapTuple	row = trial->rows[i];

		attached_show_change(table, row, row);
		if (!attached_holds(table, table->ends))
		{
			trial->rows[i] = trial->rows[nended];
			trial->rows[nended++] = row;
			break;
		}
	}
}

static void
try_table(Trial *trial)
{
	AttachedHold *hold = attached_table_hold(trial->table);

	check_columns(trial);
	find_rows(trial);
	try_rows(trial);
	try_forms(trial);
	attached_table_unhold(hold);
}

/* policy.try_attachment(attachment_id bigint) */
Datum
policy_try_attachment(PG_FUNCTION_ARGS)
{
	Trial		trial = {0};
	char	   *problem;
	Datum	   *items;
	int			count = 0;
	ListCell   *cell;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	trial.attachment_id = PG_GETARG_INT64(0);
	trial.relation = table_open(attached_table_relation(trial.attachment_id), AccessShareLock);
	problem = try_step(&trial, acquire, NULL, 0);
	if (problem != NULL)
		add_problem(&trial, problem);
	else if (trial.table != NULL)
		try_table(&trial);
	table_close(trial.relation, NoLock);
	if (trial.problems == NIL)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	items = palloc(sizeof(Datum) * list_length(trial.problems));
	foreach(cell, trial.problems)
		items[count++] = CStringGetTextDatum(lfirst(cell));
	PG_RETURN_ARRAYTYPE_P(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}
