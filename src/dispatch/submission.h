/*
 * submission.h
 *	  What policy_submit tells the guard of the row that it inserts.
 */
#ifndef POLICY_SUBMISSION_H
#define POLICY_SUBMISSION_H

#include "utils/jsonb.h"

#include "language/document.h"

typedef struct PolicySubmission
{
	const char *invalid;		/* why the columns cannot hold the job, or
								 * NULL */
	Jsonb	   *given;			/* then, what was given; NULL for a NULL */
	const char *note;			/* for its evidence, or NULL */
	MemoryContext context;		/* for what the guard sets: */
	uint8		hash[POLICY_DIGEST_LENGTH]; /* the job's, where it has a key */
	bytea	   *key_hash;		/* its idempotency key's, NULL where it has
								 * none */
} PolicySubmission;

/* The one that is being inserted; NULL outside of policy_submit. */
extern PolicySubmission *policy_submission;

#endif							/* POLICY_SUBMISSION_H */
