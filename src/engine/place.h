/*
 * place.h
 *	  Where a walk over a job is, and whether a path leads there.
 */
#ifndef POLICY_PLACE_H
#define POLICY_PLACE_H

#include "utils/jsonb.h"

#include "language/jsonpath.h"

/* Where a walk is: in each container, the key or the element that it is at. */
typedef struct Place
{
	PolicyStep *steps;
	int			nsteps;
	int			capacity;
} Place;

/* The root. */
extern void policy_place_init(Place *place);

/* Into a container: what comes next is its first key or element. */
extern void policy_place_enter(Place *place, JsonbIteratorToken token);

/* At the next element, where the place is in an array. */
extern void policy_place_next_element(Place *place);

/* Moves the place to where a token of the walk is. */
extern void policy_place_follow(Place *place, JsonbIteratorToken token, const JsonbValue *value);

/* Whether one of the paths leads there. */
extern bool policy_place_is_on(const Place *place, const PolicyPathList *paths);

#endif							/* POLICY_PLACE_H */
