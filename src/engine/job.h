/*
 * job.h
 *	  A job as conditions see it: its fields read from jsonb once, normalised.
 *
 * Everything is in the memory context that was current when it was read, or
 * points into the job, which must stay as long.
 */
#ifndef POLICY_JOB_H
#define POLICY_JOB_H

#include "utils/jsonb.h"

#include "language/policy.h"

#define POLICY_MAX_JOB_BYTES (1024 * 1024)
#define POLICY_MAX_TOPIC_BYTES 1024
#define POLICY_MAX_SET_ITEMS 256
#define POLICY_MAX_LABELS 256

/* Normalised, not NUL-terminated; data is NULL where absent. */
typedef struct JobString
{
	const char *data;
	int			len;
} JobString;

typedef struct JobSet
{
	JobString  *items;
	int			count;
} JobSet;

typedef struct JobLabel
{
	JobString	name;
	JobString	value;
} JobLabel;

#define POLICY_NSETS (POLICY_NFIELDS - POLICY_FIRST_SET)

typedef struct Job
{
	char	   *invalid;		/* what makes the job invalid, or NULL;
								 * nothing below may be used where it is set */
	Jsonb	   *source;			/* what a `when` sees: unwrapped, as given */
	Jsonb	   *comparable;		/* the same with {} for every null: made when
								 * it is first asked for */
	JobString	fields[POLICY_FIRST_SET];	/* by PolicyField */
	JobSet		sets[POLICY_NSETS]; /* by PolicyField - POLICY_FIRST_SET */
	JobLabel   *labels;			/* sorted by name, each once, none absent */
	int			nlabels;
	bool		secrets_present;
	bool		has_mcp_label;	/* a label's name begins with mcp */
	bool		has_secrets_label;	/* one may be secrets_present */
} Job;

/*
 * Reads *job from source; NULL is an invalid job, and so is one whose detoasted
 * size is over POLICY_MAX_JOB_BYTES.  Never raises for what a job holds.
 */
extern void policy_job_read(Jsonb *source, Job *job);

/* For what is found out without reading it. */
extern void policy_job_set_too_large(Job *job);

/* The source without any null (engine/nulls.h). */
extern Jsonb *policy_job_comparable(Job *job);

/* The label of that normalised name, or NULL. */
extern const JobString *policy_job_label(const Job *job, const char *name, int len);

#endif							/* POLICY_JOB_H */
