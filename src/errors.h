/*
 * errors.h
 *	  The SQLSTATEs of class PE (docs/sql-api.md, section 7).
 */
#ifndef POLICY_ERRORS_H
#define POLICY_ERRORS_H

#define ERRCODE_POLICY_INVALID_DOCUMENT MAKE_SQLSTATE('P', 'E', '0', '0', '1')
#define ERRCODE_POLICY_UNKNOWN_SNAPSHOT MAKE_SQLSTATE('P', 'E', '0', '0', '2')

#endif							/* POLICY_ERRORS_H */
