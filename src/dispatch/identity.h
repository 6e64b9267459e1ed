/*
 * identity.h
 *	  The identity that is bound to a submitter, stamped on its jobs.
 */
#ifndef POLICY_IDENTITY_H
#define POLICY_IDENTITY_H

#include "nodes/pg_list.h"

#include "dispatch/job_row.h"

/*
 * Writes the one identity (a list of Jsonb; NIL: nothing) over what the row leaves
 * out or spells otherwise.  Returns why that makes the job invalid, or NULL:
 * the row says something else, or there are several identities.
 */
extern const char *policy_stamp_identity(JobRow *row, List *identities);

/*
 * A job with the identities that are bound to its submitter, for who has no row to
 * write them in.  *invalid is NULL, or why it is no job; then it comes back as it is.
 */
extern Jsonb *policy_stamped_job(Jsonb *job, List *identities, const char **invalid);

#endif							/* POLICY_IDENTITY_H */
