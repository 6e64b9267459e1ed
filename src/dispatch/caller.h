/*
 * caller.h
 *	  Who calls, whatever user a function runs as.
 */
#ifndef POLICY_CALLER_H
#define POLICY_CALLER_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/*
 * The login, or the role that a login with the duty proxy has set; and the other
 * one of the two, where that differs.
 */
typedef struct PolicyCaller
{
	Oid			session_role;	/* the login */
	Oid			role;			/* the role that is set */
	char	   *session_name;
	char	   *role_name;
	char	   *name;			/* who counts: one of the two above */
	char	   *via;			/* the other; NULL where they are the same */
} PolicyCaller;

/* Fills *caller in the current memory context. */
extern void policy_caller_read(PolicyCaller *caller);

/* Whether who calls is still the one that was read. */
extern bool policy_caller_is_current(const PolicyCaller *caller);

/*
 * The roles that a member has USAGE of, itself first: memberships, inherited all
 * the way.  A superuser holds no more than these.
 */
extern List *policy_roles_held(Oid member);

/*
 * The roles that who calls holds: those of the login and of the role that is set,
 * whose rights it uses; for a proxy those of the role alone.
 */
extern List *policy_caller_roles(const PolicyCaller *caller);

/* Whether policy_grant gave the duty to one of these roles. */
extern bool policy_duty_held(List *roles, const char *duty);

/*
 * The identities that the duty submit binds for these roles, a list of Jsonb, each
 * once; NIL where there is none.
 */
extern List *policy_bound_identities(List *roles);

/* Whether who calls has the rights of the owner of a relation. */
extern bool policy_caller_owns(Oid relid);

#ifdef POLICY_ROLE_INHERITS
extern bool policy_role_inherits(Oid role);
#endif

#endif							/* POLICY_CALLER_H */
