/*
 * nulls.h
 *	  A job without its nulls, for a `when` to be asked of a second time.
 */
#ifndef POLICY_NULLS_H
#define POLICY_NULLS_H

#include "utils/jsonb.h"

#include "language/jsonpath.h"

/*
 * The source with an empty object for every null that is at none of the kept
 * places: comparing that with a scalar is unknown, as comparing with what is
 * absent is.  The source itself where there is no such null.
 */
extern Jsonb *policy_without_nulls(Jsonb *source, const PolicyPathList *kept);

#endif							/* POLICY_NULLS_H */
