/*
 * columns.h
 *	  Whether rows still have the columns that C reads by number.
 */
#ifndef POLICY_COLUMNS_H
#define POLICY_COLUMNS_H

#include "access/tupdesc.h"

/* Stands for a type of the extension's: their oids differ from database to database. */
#define POLICY_OWN_TYPE InvalidOid

/*
 * Whether the first columns have these types.  A superuser can drop a column, or change
 * its type; it would then be read as what it is not.
 */
extern bool policy_has_columns(TupleDesc tupdesc, const Oid *types, int ncolumns);

#endif							/* POLICY_COLUMNS_H */
