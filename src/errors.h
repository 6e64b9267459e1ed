/*
 * errors.h
 *	  The SQLSTATEs of class PE (docs/sql-api.md, section 7).
 */
#ifndef POLICY_ERRORS_H
#define POLICY_ERRORS_H

#define ERRCODE_POLICY_INVALID_DOCUMENT MAKE_SQLSTATE('P', 'E', '0', '0', '1')
#define ERRCODE_POLICY_UNKNOWN_SNAPSHOT MAKE_SQLSTATE('P', 'E', '0', '0', '2')
#define ERRCODE_POLICY_ILLEGAL_TRANSITION MAKE_SQLSTATE('P', 'E', '0', '0', '8')
#define ERRCODE_POLICY_CANNOT_ATTACH MAKE_SQLSTATE('P', 'E', '0', '1', '2')
#define ERRCODE_POLICY_ENGINE_COLUMN MAKE_SQLSTATE('P', 'E', '0', '1', '4')
#define ERRCODE_POLICY_IDEMPOTENCY_CONFLICT MAKE_SQLSTATE('P', 'E', '0', '1', '5')
#define ERRCODE_POLICY_DENIED MAKE_SQLSTATE('P', 'E', '0', '1', '7')

/*
 * Whether a caught error is about the server or the session, and not about the
 * text or the job that was being looked at: to be thrown again.
 */
static inline bool
policy_error_stops_query(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_INTERNAL_ERROR;
}

#endif							/* POLICY_ERRORS_H */
