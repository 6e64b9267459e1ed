/*
 * columns.c
 *	  Whether rows still have the columns that C reads by number.
 */
#include "postgres.h"

#include "access/transam.h"

#include "columns.h"

bool
policy_has_columns(TupleDesc tupdesc, const Oid *types, int ncolumns)
{
	if (tupdesc->natts < ncolumns)
		return false;
	for (int i = 0; i < ncolumns; i++)
	{
		Oid			type = TupleDescAttr(tupdesc, i)->atttypid;

		if (types[i] == POLICY_OWN_TYPE ? type < FirstNormalObjectId : type != types[i])
			return false;
	}
	return true;
}
