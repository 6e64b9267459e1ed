/*
 * owner_query.h
 *	  Queries on the extension's own tables, run as their owner.
 *
 * Their texts qualify every name and operator: they are planned, and planned
 * again, under whatever search_path the session has.
 */
#ifndef POLICY_OWNER_QUERY_H
#define POLICY_OWNER_QUERY_H

#include "executor/spi.h"

#define OWNER_QUERY_MAX_ARGS 20

/* A static one each; its plan is kept for the session. */
typedef struct OwnerQuery
{
	const char *text;
	int			nargs;
	Oid			types[OWNER_QUERY_MAX_ARGS];
	SPIPlanPtr	plan;
} OwnerQuery;

/*
 * Between these two SPI is connected, the user is the owner of policy.jobs, and a
 * verb is at work.
 */
typedef struct OwnerScope
{
	Oid			user;
	int			security_context;
} OwnerScope;

/* The verb of a function that writes nothing: its queries see what its caller sees. */
#define POLICY_VERB_PEEK "peek"

extern bool policy_is_peeking(void);

extern void policy_owner_begin(OwnerScope *scope, const char *verb);
extern void policy_owner_end(const OwnerScope *scope);

/* Runs a query inside of a scope; SPI_processed and SPI_tuptable have its result. */
extern void policy_owner_run(OwnerQuery *query, Datum *values, const char *nulls);

/* Runs one alone, in a scope of its own; returns how many rows it touched. */
extern uint64 policy_owner_execute(OwnerQuery *query, Datum *values, const char *nulls);

#endif							/* POLICY_OWNER_QUERY_H */
