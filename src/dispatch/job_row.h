/*
 * job_row.h
 *	  A row of policy.jobs, and the job that it is.
 */
#ifndef POLICY_JOB_ROW_H
#define POLICY_JOB_ROW_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/jsonb.h"

#define POLICY_JOBS_TABLE "policy.jobs"

/* The table's columns: sql/50_jobs.sql creates them in this order. */
typedef enum JobColumn
{
	JOB_ID = 1,
	JOB_TENANT_ID,
	JOB_TOPIC,
	JOB_CAPABILITY,
	JOB_PACK_ID,
	JOB_ACTOR_ID,
	JOB_ACTOR_TYPE,
	JOB_IDEMPOTENCY_KEY,
	JOB_SECRETS_PRESENT,
	JOB_RISK_TAGS,
	JOB_REQUIRES,
	JOB_ACTOR_ROLES,
	JOB_LABELS,
	JOB_MCP,
	JOB_PAYLOAD,
	JOB_EXTRA,
	JOB_STATE,
	JOB_DECISION_ID,
	JOB_DECIDED_AT,
	JOB_CONSTRAINTS,
	JOB_RUN_AFTER,
	JOB_ATTEMPTS,
	JOB_CLAIMED_BY,
	JOB_CLAIMED_AT,
	JOB_CLAIM_TOKEN,
	JOB_DEADLINE,
	JOB_FINISHED_AT,
	JOB_RESULT,
	JOB_ERROR,
	JOB_SUBMITTED_BY,
	JOB_SUBMITTED_AT,
	JOB_SUBMITTED_VIA,
	JOB_HALT_ID
} JobColumn;

#define JOB_NCOLUMNS JOB_HALT_ID
#define JOB_FIRST_SUBMITTED JOB_TENANT_ID
#define JOB_LAST_SUBMITTED JOB_EXTRA

/* A row taken apart; by JobColumn, [0] unused. */
typedef struct JobRow
{
	Datum		values[JOB_NCOLUMNS + 1];
	bool		nulls[JOB_NCOLUMNS + 1];
} JobRow;

/* The type of a submitter's column. */
typedef enum JobColumnType
{
	JOB_COLUMN_TEXT,
	JOB_COLUMN_BOOLEAN,
	JOB_COLUMN_JSONB
} JobColumnType;

typedef struct JobColumnInfo
{
	const char *name;
	int			len;			/* of the name */
	JobColumnType type;
} JobColumnInfo;

/* The submitter's columns but extra, by JobColumn. */
extern const JobColumnInfo job_columns[JOB_EXTRA];

/* The submitter's column of that name, extra not being one; 0 where there is none. */
extern int	job_column_by_name(const char *name, int len);

/* Takes apart a tuple whose first columns are those of policy.jobs. */
extern void job_row_read(HeapTuple tuple, TupleDesc tupdesc, JobRow *row);

/* The tuple with the row's values; columns that somebody has added stay as they are. */
extern HeapTuple job_row_form(HeapTuple tuple, TupleDesc tupdesc, JobRow *row);

/*
 * The job: the object of the submitter's columns that are not NULL, with the keys
 * of extra beside them.  *invalid is NULL, or why that makes no job.
 */
extern Jsonb *job_row_object(const JobRow *row, const char **invalid);

/* Why an object is no job for a queue: it is a simulate request.  NULL where it is none. */
extern const char *job_object_problem(Jsonb *object);

/*
 * A checksum of the submitter's columns, however they are stored: it shows an
 * accident, and would not show an attack.
 */
extern uint64 job_row_content(const JobRow *row);

/* Whether the two rows have the same job, byte for byte. */
extern bool job_row_same_content(const JobRow *a, const JobRow *b);

/* The tenant that an idempotency key is unique in: normalised, or "default". */
extern text *job_tenant_key(bool has_tenant, Datum tenant, bool has_extra, Datum extra);

/* What is unique of a key in its tenant: sql/50_jobs.sql says what it hashes. */
extern bytea *job_idempotency_hash(const text *tenant, const text *key);

/* SHA-256 of the canonical jsonb text. */
extern void job_hash(Jsonb *job, uint8 *hash);

#endif							/* POLICY_JOB_ROW_H */
