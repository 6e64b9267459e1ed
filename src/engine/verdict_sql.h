/*
 * verdict_sql.h
 *	  A verdict as the composite policy_verdict.
 */
#ifndef POLICY_VERDICT_SQL_H
#define POLICY_VERDICT_SQL_H

#include "access/htup.h"
#include "access/tupdesc.h"

#include "engine/evaluate.h"

/* What forming tuples needs to know of the SQL types; fill once a call site. */
typedef struct VerdictShape
{
	TupleDesc	tupdesc;		/* blessed */
	Oid			decisions[POLICY_NDECISIONS];	/* the enum's values that were
												 * given */
	Datum		no_rules;		/* an empty text[] */
} VerdictShape;

/* The oids of the enum policy_decision's values, by PolicyDecision. */
extern void policy_decision_oids(Oid enumtype, Oid *decisions);

/* The rules' ids as text[]; empty, not NULL, where there are none. */
extern Datum policy_rule_ids(const CompiledRule **rules, int count);

/* tupdesc is policy_verdict's, blessed, and must live as long as *shape. */
extern void policy_verdict_shape(TupleDesc tupdesc, VerdictShape *shape);

/* snapshot may be NULL.  Allocates in the current memory context. */
extern Datum policy_verdict_datum(VerdictShape *shape,
								  const PolicyVerdict *verdict, text *snapshot);

#endif							/* POLICY_VERDICT_SQL_H */
