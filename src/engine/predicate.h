/*
 * predicate.h
 *	  A `when`: PostgreSQL's own jsonpath predicate over the whole job.
 *
 * Behind this small interface so that the engine also builds outside the
 * server, where test/fuzz gives another implementation.
 */
#ifndef POLICY_PREDICATE_H
#define POLICY_PREDICATE_H

#include "language/jsonpath.h"
#include "utils/jsonb.h"

typedef enum PolicyTruth
{
	POLICY_FALSE,
	POLICY_UNKNOWN,
	POLICY_TRUE
} PolicyTruth;

typedef struct PolicyPredicate PolicyPredicate;

/*
 * text is what policy_predicate_parse() returned; current memory context, where what
 * it becomes at its first test stays too.
 */
extern PolicyPredicate *policy_predicate_compile(const char *text);

/* Any error that the job provokes is POLICY_UNKNOWN. */
extern PolicyTruth policy_predicate_test(PolicyPredicate *predicate, Jsonb *job);

/* The places that it reads; found when they are first asked for, and kept with it. */
extern const PolicyPathList *policy_predicate_reads(PolicyPredicate *predicate);

#endif							/* POLICY_PREDICATE_H */
