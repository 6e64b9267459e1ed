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

#endif							/* POLICY_IDENTITY_H */
