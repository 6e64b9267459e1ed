/*
 * job_insert.h
 *	  One row into policy.jobs, without a query.
 */
#ifndef POLICY_JOB_INSERT_H
#define POLICY_JOB_INSERT_H

#include "dispatch/job_row.h"

/*
 * Inserts a row, of which the submitter's columns alone are given, as an INSERT
 * does: triggers fire, constraints hold, indexes are entered; the statement's
 * triggers too, since each row is a statement.  Returns the row as it was stored,
 * in the context.  Returns NULL, with nothing done, where the table
 * has something that a query alone does right: columns, rules or transition tables
 * that somebody has added.  The caller's user needs the rights of the owner.
 */
extern HeapTuple job_insert(const JobRow *row, MemoryContext context);

#endif							/* POLICY_JOB_INSERT_H */
