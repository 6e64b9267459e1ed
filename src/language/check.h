/*
 * check.h
 *	  What the checks of a document's parts share; language/ alone.
 *
 * A mapping is checked by a table of its keys.  A handler gets the value's node
 * and what it fills in; it reports what is wrong and goes on, so that all errors
 * of a document come out at once.
 */
#ifndef POLICY_CHECK_H
#define POLICY_CHECK_H

#include "language/policy.h"

typedef struct Check
{
	PolicyDiagnostics *diags;
	PolicyPathList reads;		/* what every `when` of the document reads */
	bool		has_times;		/* a rule or an exception has a time */
} Check;

typedef struct CheckKey
{
	const char *name;
	bool		required;
	void		(*handle) (Check *check, const PolicyNode *value, const char *name, void *target);
} CheckKey;

/* Checks a mapping's keys and hands out its values; false where it is none. */
extern bool check_mapping(Check *check, const PolicyNode *node, const char *name,
						  const CheckKey *keys, int nkeys, void *target);

/* Reports a problem at a node. */
extern void check_error(Check *check, const PolicyNode *node, const char *code,
						const char *hint, const char *fmt,...)
			pg_attribute_printf(5, 6);

/* Whether it is a mapping, or a list; reports it where not. */
extern bool check_is_mapping(Check *check, const PolicyNode *node, const char *name);
extern bool check_is_sequence(Check *check, const PolicyNode *node, const char *name);

/* Any scalar as its text; NULL, reported, for anything else. */
extern const char *check_string(Check *check, const PolicyNode *node, const char *name);

/* A plain true or false; reports anything else and leaves *result. */
extern void check_boolean(Check *check, const PolicyNode *node, const char *name, bool *result);

/* A plain JSON integer from low to high; reports anything else, leaves *result. */
extern void check_integer(Check *check, const PolicyNode *node, const char *name,
						  int64 low, int64 high, int64 *result);

extern void check_timestamp(Check *check, const PolicyNode *node, const char *name,
							TimestampTz *result);

/* [A-Za-z0-9._-]{1,128}; NULL, reported, for anything else. */
extern const char *check_id(Check *check, const PolicyNode *node, const char *name);

extern bool check_decision(Check *check, const PolicyNode *node, const char *name,
						   PolicyDecision *result);

/* A list of jsonpaths that name places. */
extern void check_paths(Check *check, const PolicyNode *node, const char *name,
						PolicyPathList *paths);

/* Numbers that PostgreSQL can hold, anywhere below. */
extern void check_free_value(Check *check, const PolicyNode *node);

/* A mapping of constraints; *result is set where it is one. */
extern void check_constraints(Check *check, const PolicyNode *node, const char *name,
							  PolicyNode **result);

/* check_match.c */
extern void check_match(Check *check, const PolicyNode *node, const char *name, void *match);

/* check_rule.c */
extern void check_rules(Check *check, const PolicyNode *node, const char *name, void *policy);

/*
 * check_immaterial.c: refuses immaterial paths that overlap what a `when` of the
 * document reads.
 */
extern void check_immaterial(Check *check, const Policy *policy);

/* check_tests.c */
extern void check_tests(Check *check, const PolicyNode *node, const char *name, void *policy);

/* Ids of one list that must differ. */
typedef struct CheckedId
{
	const char *id;				/* or NULL, which is passed over */
	PolicyMark	mark;
} CheckedId;

extern void check_unique_ids(Check *check, CheckedId *ids, int count, const char *what);

#endif							/* POLICY_CHECK_H */
