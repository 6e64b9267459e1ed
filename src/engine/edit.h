/*
 * edit.h
 *	  A job with something else at certain places, or nothing.
 *
 * Paths are `$` with .key, [n] and [*] only: each names places, not values.
 */
#ifndef POLICY_EDIT_H
#define POLICY_EDIT_H

#include "utils/jsonb.h"

#include "language/jsonpath.h"

/* A deep copy in the current memory context. */
extern PolicyPathList policy_paths_copy(const PolicyPathList *paths);

/* The source with '***' for whatever is at one of the places. */
extern Jsonb *policy_masked(Jsonb *source, const PolicyPathList *places);

/* The source without whatever is at one of the places. */
extern Jsonb *policy_without(Jsonb *source, const PolicyPathList *places);

#endif							/* POLICY_EDIT_H */
