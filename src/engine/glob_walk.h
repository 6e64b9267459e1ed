/*
 * glob_walk.h
 *	  The search of glob_find.h itself, and what it shares with what comes first.
 */
#ifndef POLICY_GLOB_WALK_H
#define POLICY_GLOB_WALK_H

#include "engine/glob_find.h"

/* Whether a field can have the value: normalised already, and not empty. */
extern bool glob_is_value(const char *value, int len);

/* Whether a class has a character. */
extern bool glob_class_accepts(const PolicyPatternToken *token, pg_wchar c);

/* Whether what two patterns begin with shows that no value matches both. */
extern bool glob_are_apart(const SearchGlob *a, const SearchGlob *b);

/* As glob_find(), of the values that pivot, one of some's (NULL: any), matches. */
extern PolicyFinding glob_walk(const SearchGlob *pivot, const GlobList *some,
							   const GlobList *none, PolicyWork *work,
							   const char **value, int *len);

#endif							/* POLICY_GLOB_WALK_H */
