/*
 * caller.c
 *	  Who calls, whatever user a function runs as.
 *
 * Both user ids used here stay what they are inside SECURITY DEFINER functions:
 * the session's, and the outer one, which SET ROLE sets.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/syscache.h"

#include "compat.h"
#include "dispatch/caller.h"
#include "dispatch/job_row.h"
#include "store/table.h"

/* The columns of policy.held_duties. */
enum
{
	DUTIES_ROLE = 1,
	DUTIES_DUTY,
	DUTIES_IDENTITY
};

PG_FUNCTION_INFO_V1(policy_caller);
PG_FUNCTION_INFO_V1(policy_holds_role);
PG_FUNCTION_INFO_V1(policy_holds_duty);
PG_FUNCTION_INFO_V1(policy_has_owner_rights);

#ifdef POLICY_ROLE_INHERITS
bool
policy_role_inherits(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		inherits = false;

	if (HeapTupleIsValid(tuple))
	{
		inherits = ((Form_pg_authid) GETSTRUCT(tuple))->rolinherit;
		ReleaseSysCache(tuple);
	}
	return inherits;
}
#endif

List *
policy_roles_held(Oid member)
{
	List	   *held = list_make1_oid(member);

	for (int i = 0; i < list_length(held); i++)
	{
		CatCList   *memberships = SearchSysCacheList1(AUTHMEMMEMROLE,
													  ObjectIdGetDatum(list_nth_oid(held, i)));

		for (int j = 0; j < memberships->n_members; j++)
		{
			Form_pg_auth_members form = (Form_pg_auth_members)
			GETSTRUCT(&memberships->members[j]->tuple);

			if (policy_membership_inherits(form))
				held = list_append_unique_oid(held, form->roleid);
		}
		ReleaseSysCacheList(memberships);
	}
	return held;
}

/* The row of policy.held_duties, copied; NULL where there is none. */
static HeapTuple
find_duty(Relation relation, Relation index, Oid role, const char *duty)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], DUTIES_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	ScanKeyEntryInitialize(&keys[1], 0, DUTIES_DUTY, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(duty));
	scan = systable_beginscan_ordered(relation, index, NULL, 2, keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan_ordered(scan);
	return tuple;
}

bool
policy_duty_held(List *roles, const char *duty)
{
	Relation	relation = policy_table_open("held_duties");
	Relation	index = policy_primary_key_open(relation);
	bool		held = false;
	ListCell   *cell;

	foreach(cell, roles)
	{
		if (!held)
			held = find_duty(relation, index, lfirst_oid(cell), duty) != NULL;
	}
	policy_table_close(relation, index);
	return held;
}

static List *
add_identity(List *identities, Jsonb *identity)
{
	ListCell   *cell;

	foreach(cell, identities)
	{
		if (compareJsonbContainers(&((Jsonb *) lfirst(cell))->root, &identity->root) == 0)
			return identities;
	}
	return lappend(identities, identity);
}

List *
policy_bound_identities(List *roles)
{
	Relation	relation = policy_table_open("held_duties");
	Relation	index = policy_primary_key_open(relation);
	List	   *identities = NIL;
	ListCell   *cell;

	foreach(cell, roles)
	{
		HeapTuple	tuple = find_duty(relation, index, lfirst_oid(cell), "submit");
		bool		isnull = true;
		Datum		identity = 0;

		if (tuple != NULL)
			identity = heap_getattr(tuple, DUTIES_IDENTITY, RelationGetDescr(relation), &isnull);
		if (!isnull)
			identities = add_identity(identities, DatumGetJsonbPCopy(identity));
	}
	policy_table_close(relation, index);
	return identities;
}

void
policy_caller_read(PolicyCaller *caller)
{
	caller->session_role = GetSessionUserId();
	caller->role = GetOuterUserId();
	caller->session_name = GetUserNameFromId(caller->session_role, false);
	caller->role_name = caller->session_name;
	caller->name = caller->session_name;
	caller->via = NULL;
	if (caller->role == caller->session_role)
		return;
	caller->role_name = GetUserNameFromId(caller->role, false);
	if (policy_duty_held(policy_roles_held(caller->session_role), "proxy"))
		caller->name = caller->role_name;
	caller->via = caller->name == caller->role_name ? caller->session_name : caller->role_name;
}

List *
policy_caller_roles(const PolicyCaller *caller)
{
	List	   *roles = policy_roles_held(caller->role);

	if (caller->name == caller->role_name)
		return roles;
	return list_concat_unique_oid(policy_roles_held(caller->session_role), roles);
}

bool
policy_caller_is_current(const PolicyCaller *caller)
{
	return caller->session_role == GetSessionUserId() && caller->role == GetOuterUserId();
}

bool
policy_caller_owns(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		owns = false;

	if (HeapTupleIsValid(tuple))
	{
		owns = has_privs_of_role(GetOuterUserId(), ((Form_pg_class) GETSTRUCT(tuple))->relowner);
		ReleaseSysCache(tuple);
	}
	return owns;
}

/* policy.caller() */
Datum
policy_caller(PG_FUNCTION_ARGS)
{
	PolicyCaller caller;
	TupleDesc	tupdesc;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	policy_caller_read(&caller);
	values[0] = CStringGetTextDatum(caller.name);
	nulls[1] = caller.via == NULL;
	if (caller.via != NULL)
		values[1] = CStringGetTextDatum(caller.via);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}

static Oid
role_argument(FunctionCallInfo fcinfo, int n)
{
	return get_role_oid(text_to_cstring(PG_GETARG_TEXT_PP(n)), true);
}

/* policy.holds_role(member text, role text) */
Datum
policy_holds_role(PG_FUNCTION_ARGS)
{
	Oid			member = role_argument(fcinfo, 0);
	Oid			role = role_argument(fcinfo, 1);

	PG_RETURN_BOOL(OidIsValid(member) && OidIsValid(role) &&
				   list_member_oid(policy_roles_held(member), role));
}

/* policy.holds_duty(member text, duty text) */
Datum
policy_holds_duty(PG_FUNCTION_ARGS)
{
	Oid			member = role_argument(fcinfo, 0);

	PG_RETURN_BOOL(OidIsValid(member) &&
				   policy_duty_held(policy_roles_held(member),
									text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* policy.has_owner_rights() */
Datum
policy_has_owner_rights(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(policy_caller_owns(policy_relation_oid("jobs")));
}
